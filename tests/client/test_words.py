"""Words become hashes that are the same everywhere and that forgive small differences."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visrec_client.words import _WORD, token_ids, token_tensor

ANY_TEXT = st.text(st.characters())  # lone surrogates too
PLAIN_WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=9), max_size=6)


def test_known_hashes() -> None:
    """A released model depends on these numbers: they may never change."""
    assert token_ids("Red") == [5412110652869607143, 3943718528459328876, 7629518133373644458]
    assert token_tensor("Red", 2).tolist() == [5412110652869607143, 3943718528459328876]


def test_a_hash_is_the_start_of_blake2b_of_a_prefixed_token() -> None:
    def expected(token: bytes) -> int:
        return int.from_bytes(hashlib.blake2b(token).digest()[:8], "little") & (2**63 - 1)

    assert token_ids("Émile") == [
        expected(f"{kind}".encode()) for kind in ("w:émile", "g:<émi", "g:émil", "g:mile", "g:ile>")
    ]


@given(ANY_TEXT)
def test_any_text_gives_distinct_positive_int64(text: str) -> None:
    ids = token_ids(text)
    assert len(set(ids)) == len(ids)
    assert all(0 < token < 2**63 for token in ids)


@given(ANY_TEXT, st.integers(0, 80))
def test_the_tensor_is_the_start_of_the_ids_then_zeros(text: str, length: int) -> None:
    tensor = token_tensor(text, length)
    ids = token_ids(text)[:length]
    assert tensor.dtype == np.int64
    assert tensor.tolist() == ids + [0] * (length - len(ids))


@given(PLAIN_WORDS, st.randoms())
def test_the_order_of_words_changes_only_the_order_of_tokens(words: list[str], random) -> None:
    shuffled = random.sample(words, len(words))
    assert set(token_ids(" ".join(words))) == set(token_ids(" ".join(shuffled)))


@given(PLAIN_WORDS)
def test_whole_words_come_first_so_a_cut_loses_pieces_first(words: list[str]) -> None:
    distinct = list(dict.fromkeys(words))
    whole = [token_ids(word)[0] for word in distinct]
    assert token_ids(" ".join(words))[: len(distinct)] == whole


@given(PLAIN_WORDS, st.text(" _-.,;:!?/\t\n", min_size=1, max_size=4))
def test_punctuation_and_underscores_only_separate(words: list[str], separator: str) -> None:
    assert token_ids(separator.join(words)) == token_ids(" ".join(words))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("RED", "red"),
        ("Straße", "STRASSE"),
        ("ﬁne", "fine"),
        ("\uff32\uff25\uff24", "red"),
        ("cafe\u0301", "café"),
        ("قَمِيص", "قميص"),
        ("קָפֶה", "קפה"),
        ("کتاب\u200cها", "کتابها"),  # noqa: RUF001
        ("tea\u00adpot", "teapot"),
    ],
)
def test_spellings_of_one_word_are_one(one: str, other: str) -> None:
    assert token_ids(one) == token_ids(other)


@pytest.mark.parametrize(
    ("one", "other"), [("teapot", "teapots"), ("teapot", "tepot"), ("kangaroo", "kangoroo")]
)
def test_plurals_and_typos_share_pieces(one: str, other: str) -> None:
    assert len(set(token_ids(one)) & set(token_ids(other))) != set()


@pytest.mark.parametrize(
    ("query", "title"),
    [
        *(
            ("苹果", "红苹果"),
            ("手机", "智能手机壳"),
            ("財布", "革の財布"),
            ("사과", "빨간사과"),
            ("傘", "花柄の傘"),
        ),
        *(
            ("カバン", "革カバン黒"),
            ("ﾊﾞｯｸﾞ", "トートバッグ"),
            ("ผ้า", "ผ้าพันคอ"),
            ("ຜ້າ", "ຜ້າໄໝ"),
            ("茶", "绿茶"),
        ),
        *(("TVs", "TV stand"), ("PCs", "gaming PC"), ("tv", "TV台"), ("iPhone", "iPhone手机壳")),
    ],
)
def test_a_short_word_shares_a_token_with_the_title_that_holds_it(query: str, title: str) -> None:
    assert set(token_ids(query)) & set(token_ids(title))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("बच्चों की साइकिल", 3),  # Devanagari
        ("শিশুদের সাইকেল", 2),  # Bengali
        ("குழந்தை சைக்கிள்", 2),  # Tamil
        ("เสื้อยืด", 1),  # Thai
        ("قَمِيص أَزْرَق", 2),  # Arabic with vowels
        ("שֻׁלְחָן", 1),  # Hebrew with points
        ("x\u030c y\u0323\u0302", 2),  # no composed form
    ],
)
def test_marks_do_not_split_words(text: str, words: int) -> None:
    assert len(_WORD.findall(text)) == words


@given(st.text(st.characters(categories=["Mn", "Mc", "Me"]), max_size=5))
def test_marks_alone_are_no_words(text: str) -> None:
    assert _WORD.findall(text) == []


@given(st.text("苹果手机の財布ひらカバン사과ผ", min_size=2, max_size=8), st.data())
def test_any_two_letters_in_a_row_find_the_title(title: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(title) - 2))
    assert set(token_ids(title[start : start + 2])) & set(token_ids(title))


def test_short_pieces_of_other_scripts_do_not_exist() -> None:
    assert not set(token_ids("ca")) & set(token_ids("scarf"))
    assert not set(token_ids("са")) & set(token_ids("масса"))  # noqa: RUF001  (Cyrillic)


def test_a_word_and_a_piece_that_look_the_same_differ() -> None:
    assert token_ids("eapo")[0] not in token_ids("teapot")


def test_nothing_gives_nothing() -> None:
    for text in ("", "  \n", "!?…", "___", "\ud800"):
        assert token_ids(text) == []
    assert token_tensor("", 4).tolist() == [0, 0, 0, 0]
