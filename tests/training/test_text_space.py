"""Searches find items by meaning, in any language, and by words, misspelt or not."""

import pytest
import torch

from visrec_training import item_texts
from visrec_training.config import ModelConfig
from visrec_training.data import Catalogue
from visrec_training.item_texts import (
    ItemSentences,
    background,
    item_words,
    load_text_graph,
    read_item_texts,
)
from visrec_training.retrieval import Typed
from visrec_training.rows import Ragged
from visrec_training.text_space import TextSpace
from visrec_training.vocabulary import NO_WORDS, ItemTokens, Vocabulary

TITLES = (
    "red apple", "birthday cake", "crying face", "dog", "bicycle", "umbrella", "soccer ball", "guitar",
    "strawberry", "airplane", "teapot", "wooden chair", "leather boot", "SKU-4711 charger", "blue whale",
)  # fmt: skip
USE = "use-multilingual"


def catalogue(titles):
    nothing = ("",) * len(titles)
    return Catalogue(tuple(map(str, range(len(titles)))), nothing, titles, nothing, nothing, nothing)


@pytest.fixture(scope="module", params=[USE, "none"])
def search(request):
    """Rank the titles for a text, by the text alone."""
    config = ModelConfig(text_encoder=request.param)
    vectors = torch.from_numpy(background(request.param))
    empty = TextSpace(config, vectors.shape[1], NO_WORDS)
    empty.fit_meaning(vectors)
    texts = read_item_texts(catalogue(TITLES), request.param, empty)
    vocabulary = Vocabulary.learn(texts.tokens)
    tokens, _ = vocabulary.encode(texts.tokens, config.item_words)
    space = TextSpace(config, vectors.shape[1], vocabulary)
    space.mean.copy_(empty.mean)
    space.axes.copy_(empty.axes)
    words = item_words(space, vocabulary.hashes, torch.from_numpy(tokens))
    items = space.items(texts.meanings, torch.zeros(len(TITLES), config.aspect_dim), words)

    def search(text):
        typed = Typed.read([text], vocabulary, config)
        rows, hashes, sentences = typed.tensors()
        scores = (space(sentences, hashes, rows) @ items.T)[0]
        return [TITLES[row] for row in scores.argsort(descending=True)], scores

    search.encoder = request.param
    return search


@pytest.mark.parametrize("title", TITLES)
def test_an_exact_title_finds_its_item_first(search, title):
    assert search(title)[0][0] == title


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("bycicle", "bicycle"), ("umbrela", "umbrella"), ("gitar", "guitar"), ("SKU 4711", "SKU-4711 charger")],
)
def test_a_misspelt_title_still_finds_it(search, typed, meant):
    assert meant in search(typed)[0][:2]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("自転車", "bicycle"), ("生日", "birthday cake"), ("красная ягода", "strawberry"), ("犬", "dog"),
        ("triste", "crying face"), ("paraguas", "umbrella"), ("طائرة", "airplane"), ("puppy", "dog"),
    ],
)  # fmt: skip
def test_a_text_finds_what_it_means_in_any_language(search, typed, meant):
    if search.encoder == USE:
        assert meant in search(typed)[0][:3]
    else:
        assert not search(typed)[1].any(), "words that no title has say nothing"


@pytest.mark.parametrize("typed", ["", "   "])
def test_no_text_says_nothing(search, typed):
    assert not search(typed)[1].any()


def test_what_pictures_look_like_predicts_what_items_mean():
    config = ModelConfig(aspect_dim=4, sentence_dim=3, lexical_dim=2)
    space = TextSpace(config, 5, NO_WORDS)
    generator = torch.Generator().manual_seed(0)
    gists, turn = torch.randn(200, 4, generator=generator), torch.randn(4, 3, generator=generator)
    meanings = torch.nn.functional.normalize(gists @ turn, dim=1)
    space.fit_looks(gists, meanings)
    seen = space.items(torch.zeros(200, 3), gists, torch.zeros(200, 2))[:, :3]
    assert (seen * meanings).sum(1).mean() > 0.9, "an item without a text is found by its looks"


def test_pictures_all_alike_predict_nothing_and_break_nothing():
    space = TextSpace(ModelConfig(aspect_dim=4, sentence_dim=3, lexical_dim=2), 5, NO_WORDS)
    space.fit_looks(torch.ones(6, 4), torch.nn.functional.normalize(torch.randn(6, 3), dim=1))
    assert torch.isfinite(space.looks).all()
    assert not space.looks.any()


def test_searches_are_read_as_they_are_served():
    read = load_text_graph("none")(["red red apple"])
    vocabulary = Vocabulary.learn(ItemTokens(Ragged.of([read.tokens[read.tokens != 0]]), 1))
    typed = Typed.read(["red apple", ""], vocabulary, ModelConfig(text_encoder="none"))
    assert (typed.tokens[0][typed.hashes[0] != 0] > 0).all()
    assert not typed.hashes[1].any()


def test_sentences_are_read_when_they_are_asked_for_and_never_twice(monkeypatch):
    monkeypatch.setattr(item_texts, "READ_AT_ONCE", 1)
    sentences = ItemSentences(catalogue((*TITLES, "")), USE, torch.device("cpu"))
    first = sentences[torch.tensor([3, 0, 3])]
    assert torch.equal(first[0], first[2])
    torch.testing.assert_close(first.norm(dim=1), torch.ones(3))
    monkeypatch.setattr(sentences, "_graph", None)
    assert torch.equal(sentences[torch.tensor([0])], first[1:2])


def test_a_sentence_without_a_text_is_nothing():
    sentences = ItemSentences(catalogue(("", "dog")), USE, torch.device("cpu"))
    assert not sentences[torch.tensor([0])].any()
