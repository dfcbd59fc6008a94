"""MovieLens as GroupLens gives it → a data folder that visrec reads, with a split that leaks nothing."""

import shutil

import numpy as np
import pytest
from benchmarks.quality.__main__ import main
from benchmarks.quality.convert import is_cold
from PIL import Image

from visrec_training.data import read_dataset
from visrec_training.interactions import COLD, PARTS, TEST, TRAIN, VALID

FILMS, USERS, EACH = 60, 12, 30


def rated():
    """User, film, rating and time; times run backwards through the table."""
    rng = np.random.default_rng(5)
    for user in range(1, USERS + 1):
        for place, film in enumerate(rng.choice(FILMS, EACH, replace=False) + 1):
            yield user, int(film), int(rng.integers(1, 6)), 1_000_000 - place


@pytest.fixture
def posters(tmp_path):
    (tmp_path / "posters").mkdir()
    for film in range(1, FILMS):  # the last one has none
        Image.new("RGB", (8, 8), (film, 0, 0)).save(tmp_path / "posters" / f"{film}.jpg")
    return tmp_path / "posters"


@pytest.fixture
def small(tmp_path):
    """Ratings and films as in ml-latest-small."""
    folder = tmp_path / "ml-latest-small"
    folder.mkdir()
    films = [
        f'{n},"Film, The {n} (1999)",{"(no genres listed)" if n == 2 else "Drama|War"}'
        for n in range(1, FILMS + 1)
    ]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *films]), "utf-8")
    lines = [f"{u},{f},{r}.0,{t}" for u, f, r, t in rated()]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines]), "utf-8")
    return folder


@pytest.fixture
def million(tmp_path):
    """Ratings and films as in ml-1m."""
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    films = "".join(f"{n}::Misérables, Les {n} (1995)::Drama|Musical\n" for n in range(1, FILMS + 1))
    (folder / "movies.dat").write_bytes(films.encode("iso-8859-1"))
    (folder / "ratings.dat").write_text("".join(f"{u}::{f}::{r}::{t}\n" for u, f, r, t in rated()))
    return folder


def converted(source, posters, out):
    assert main(["convert", "--source", str(source), "--posters", str(posters), "--out", str(out)]) == 0
    return read_dataset(out)


def test_ml_small_keeps_its_order_in_time(small, posters, tmp_path):
    dataset = converted(small, posters, tmp_path / "data" / "ml-small")
    catalogue, done = dataset.catalogue, dataset.interactions
    assert str(FILMS) not in catalogue.item_ids, "no poster, no item"
    row = catalogue.item_ids.index("2")
    assert (catalogue.titles[row], catalogue.categories[row]) == ("Film, The 2 (1999)", "")
    assert all(image.is_file() for image in catalogue.images)
    assert done.has_order
    for user in range(USERS):
        mine = done.parts[(done.users == user) & (done.parts != COLD)]
        assert mine.tolist() == sorted(mine.tolist()), "train, then valid, then test"
        assert np.bincount(mine, minlength=3)[TRAIN] == round(0.8 * len(mine))


def test_ratings_of_four_and_more_are_liked(small, posters, tmp_path):
    done = converted(small, posters, tmp_path / "data")
    expected = {(u - 1, str(f)): r >= 4 for u, f, r, _ in rated() if f < FILMS}
    ids = done.catalogue.item_ids
    triples = zip(done.interactions.users, done.interactions.items, done.interactions.liked, strict=True)
    # users are sorted as words
    names = sorted(map(str, range(1, USERS + 1)))
    assert {(int(names[u]) - 1, ids[i]): bool(liked) for u, i, liked in triples} == expected


def test_ml_1m_is_read_in_its_own_encoding_and_shuffled(million, posters, tmp_path):
    dataset = converted(million, posters, tmp_path / "data")
    assert dataset.catalogue.titles[0].startswith("Misérables, Les")
    done = dataset.interactions
    assert not done.has_order
    assert {PARTS[part] for part in done.parts} == set(PARTS)
    again = converted(million, posters, tmp_path / "again").interactions
    assert done.parts.tolist() == again.parts.tolist()


def test_the_same_films_are_cold_in_both(small, million, posters, tmp_path):
    cold = []
    for source in (small, million):
        dataset = converted(source, posters, tmp_path / "data" / source.name)
        done = dataset.interactions
        cold.append({dataset.catalogue.item_ids[row] for row in done.items[done.parts == COLD]})
        assert not set(done.items[done.parts == COLD]) & set(done.items[done.parts == TRAIN])
        assert not set(done.items[done.parts == COLD]) & set(
            done.items[(done.parts == VALID) | (done.parts == TEST)]
        )
    assert cold[0] == cold[1]
    assert 0.08 < np.mean([is_cold(film, 0) for film in range(10_000)]) < 0.12


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda source, posters: (source / "movies.csv").unlink(), "movies.csv"),
        (lambda source, posters: (source / "ratings.csv").write_text("a,b\n1,2\n"), "damaged"),
        (lambda source, posters: shutil.rmtree(posters), "no poster of any film"),
    ],
)
def test_what_is_missing_is_told_in_one_line(small, posters, tmp_path, capsys, broken, said):
    broken(small, posters)
    words = ["convert", "--source", str(small), "--posters", str(posters), "--out", str(tmp_path / "data")]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
