"""The baselines of the benchmark alone: a centroid, a blend of two others, and what other libraries train."""

import dataclasses
import sys

import numpy as np
import pytest
from benchmarks.quality import cornac_baselines, rectools_baselines
from benchmarks.quality.blend import Blend
from benchmarks.quality.cornac_baselines import CORNAC
from benchmarks.quality.rectools_baselines import RECTOOLS
from benchmarks.quality.sentences import centroid_of_sentences

from visrec_client.errors import VisrecError
from visrec_training.baselines import Popularity, best_ease, rank
from visrec_training.centroids import Centroid
from visrec_training.metrics import ranking_metrics
from visrec_training.queries import Queries
from visrec_training.rows import Ragged


def reached(baseline, section):
    return ranking_metrics(rank(baseline, section), section.queries.targets)["ndcg@10"]


def test_a_blend_answers_for_known_and_new_items(prepared):
    split, sections = prepared.split, prepared.split.sections()
    content, ease = Centroid.fit(prepared, words=1, pictures=1), best_ease(split)
    blend = Blend.fit(split, 100, content)
    assert reached(blend, sections["cold alone"]) == reached(content, sections["cold alone"])
    assert reached(blend, sections["cold"]) > reached(ease, sections["cold"]) == 0
    assert len({*blend.weights[split.candidates]}) == len({*blend.weights[split.is_cold]}) == 1
    assert reached(blend, sections["warm"]) > reached(content, sections["warm"])
    assert reached(blend, sections["mixed"]) > reached(ease, sections["mixed"])


def test_what_sentences_mean_tells_new_items_apart(prepared):
    section = prepared.split.sections()["cold alone"]
    chance = reached(Popularity.fit(prepared.split), section)  # nobody knows them
    assert reached(centroid_of_sentences(prepared), section) > 1.2 * chance


@pytest.mark.parametrize(
    ("library", "packages"), [(CORNAC, "cornac torch"), (RECTOOLS, r"'rectools\[torch\]'")]
)
def test_a_missing_environment_is_told_with_its_remedy(library, packages, tmp_path):
    with pytest.raises(VisrecError, match=rf"venv .*/none && .*/pip install {packages}`") as error:
        library.check(tmp_path / "none" / "bin" / "python")
    assert "\n" not in str(error.value)


@pytest.fixture
def python(tmp_path):
    """Makes a python that runs some lines in place of a library's script."""

    def make(*lines):
        script, path = tmp_path / "instead.py", tmp_path / "python"
        script.write_text("\n".join(lines))
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
        path.chmod(0o755)
        return path

    return make


def test_what_a_library_says_when_it_fails_is_told_in_one_line(prepared, python):
    with pytest.raises(VisrecError, match="iALS failed: no room; make it with") as error:
        rectools_baselines.train("iALS", prepared, [], 0, python("import sys", "sys.exit('well\\nno room')"))
    assert "\n" not in str(error.value)


IN_PLACE_OF_IALS = """
import sys
import numpy as np
given = np.load(sys.argv[3])
ends = np.cumsum(given["asked_lengths"])
histories = np.zeros((len(ends), given["count"]), np.float32)
histories[np.repeat(np.arange(len(ends)), given["asked_lengths"]), given["asked"]] = 1
liked = np.zeros((len(given["train_lengths"]), given["count"]), np.float32)
liked[np.repeat(np.arange(len(liked)), given["train_lengths"]), given["train"]] = 1
items = liked.T @ liked
np.savez(sys.argv[4], histories=[histories, histories], items=[items * -1, items])
"""
"""Makes two fits: who likes an item has not met those that others liked with it, and has met them."""


def test_the_better_of_what_a_library_trains_answers_for_every_history(prepared, python):
    section = prepared.split.sections()["warm"]
    short = dataclasses.replace(section, queries=section.queries.with_recent(1))
    fit = rectools_baselines.train("iALS", prepared, [section, short], 0, python(IN_PLACE_OF_IALS))
    popular = reached(Popularity.fit(prepared.split), section)
    assert reached(fit, section) > popular
    assert 0 < reached(fit, short) < reached(fit, section)


def test_vectors_show_no_item_that_training_never_met():
    items = np.asarray([[1.0, 0.0], [0.0, 0.0], [-2.0, 1.0]], np.float32)
    history = Ragged.of([[0, 2]])
    vectors = rectools_baselines.Vectors(
        {history[0].tobytes(): 0}, histories=np.asarray([[1, 1]], np.float32), items=items
    )
    asked = Queries(np.zeros(1, np.int64), history, np.full(1, -1), Ragged.empty(1), history)
    assert vectors.scores(asked).tolist() == [[1, -np.inf, -1]]


def test_factors_score_by_who_asks():
    factors = cornac_baselines.Factors(
        users=np.asarray([[1.0, 0.0]], np.float32),
        items=np.asarray([[1.0, 5.0], [2.0, 0.0]], np.float32),
        bias=np.asarray([0.5, 0.0], np.float32),
    )
    nothing = Ragged.empty(2)
    queries = Queries(np.asarray([0, 7]), nothing, np.full(2, -1), nothing, nothing)
    assert factors.scores(queries).tolist() == [[1.5, 2.0], [0.5, 0.0]]
