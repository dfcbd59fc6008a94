"""Questions that are asked again and again, by several sections, are answered as each section's are alone."""

import dataclasses

import numpy as np
import pytest
import torch

from visrec_training.checkpoint import Checkpoint
from visrec_training.metrics import ranking_metrics
from visrec_training.prepare import prepare, read
from visrec_training.rehearsal import Rehearsal
from visrec_training.retrieval import rank_catalogue, read_queries
from visrec_training.served import Served
from visrec_training.validation import BOTH, HISTORY

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoint(run):
    return Checkpoint.load(run / "best.pt")


@pytest.fixture(scope="module")
def shop(checkpoint, small_shop, cache):
    config, training = checkpoint.model_config, checkpoint.train_config
    return prepare(read(small_shop, None), checkpoint.model().encoder, config, training, cache, CPU)


@pytest.fixture
def served(checkpoint, shop):
    return Served.load(checkpoint, checkpoint.model(), shop, CPU)


@pytest.fixture(params=["one right answer", "one or two"])
def sections(shop, request):
    """What is asked of known and of new items; with a second right answer to every other question."""
    sections = list(shop.split.sections().values())
    if request.param == "one right answer":
        return sections
    rng = np.random.default_rng(0)
    return [with_second_answers(section, rng) for section in sections]


def with_second_answers(section, rng):
    queries = section.queries
    others = rng.integers(len(section.ranked), size=len(queries))
    has_second = (np.arange(len(queries)) % 2 > 0) & (others != queries.targets.values)
    targets = queries.targets.appended(others, has_second)
    return dataclasses.replace(section, queries=dataclasses.replace(queries, targets=targets))


@pytest.fixture
def asked(served, sections):
    """Sections, as two combinations of modalities read them."""
    return [
        (
            section,
            [
                list(read_queries(served.scorer, served.aspects, served.maps, section, sent))
                for sent in (HISTORY, BOTH)
            ],
        )
        for section in sections
    ]


def reached(served, section):
    """Mean NDCG@10 of a section that is asked by itself."""
    each = (
        rank_catalogue(served.scorer, served.aspects, served.maps, section, sent).rows
        for sent in (HISTORY, BOTH)
    )
    return np.mean([ranking_metrics(rows, section.queries.targets)["ndcg@10"] for rows in each])


@pytest.mark.parametrize("together", [1, 10_000, 1 << 22])
def test_questions_that_are_ranked_together_are_answered_as_apart(served, asked, monkeypatch, together):
    monkeypatch.setattr("visrec_training.rehearsal.JOINED", together)
    nothing_new = torch.zeros(served.scorer.items, dtype=torch.bool)
    expected = [reached(served, section) for section, _ in asked]
    assert Rehearsal(served.scorer, nothing_new, asked).ndcg() == pytest.approx(expected)
