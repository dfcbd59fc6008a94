"""The README's figures: made from an evaluation, each with how sure it is."""

import pytest
from benchmarks.quality_figures import block

METRICS = ("ndcg@10", "recall@20", "mrr@10")
SURE = {"ndcg@10 interval": [0.1, 0.2], "recall@20 interval": [0.3, 0.38]}


@pytest.fixture
def figures():
    row = dict.fromkeys(METRICS, 0.15) | SURE
    return {
        "machine": "2 cores",
        "seeds": {"warm": [0.15], "cold": [0.1], "ratio": [1.3]},
        "queries": {"warm": 2000, "cold": 5395},
        "warm": {"history": row, "EASE": row},
        "cold": {"history": row},
        "attention": {
            "pictures": 200,
            "on the object": 0.7,
            "on the object interval": [0.68, 0.72],
            "uniform map": 0.3,
            "above uniform": 1.0,
        },
        "picture alone": {"own category in the top 10": 0.76, "ratio": 6.2, "ratio interval": [6.1, 6.34]},
        "ratios": {
            "warm ndcg@10, history to popularity": {"ratio": 6.3, "low": 5.5, "high": 7.2},
            "warm ndcg@10, picture + history to history or picture": {
                "ratio": 1.13,
                "low": 1.08,
                "high": 1.2,
            },
            "cold recall@20, picture + history to random": {"ratio": 33.9, "low": 32.2, "high": 35.1},
        },
    }


def test_figures_have_half_of_their_intervals(figures):
    text = block(figures)
    assert "| history | 0.1500 ±0.0500 | 0.1500 ±0.0400 | 0.1500 | 0.1500 ±0.0500 |" in text
    assert "| EASE | 0.1500 ±0.0500 | 0.1500 ±0.0400 | 0.1500 | - | - | - |" in text


def test_claims_have_intervals(figures):
    text = block(figures)
    assert "History alone reaches 6.3 times (5.5 to 7.2) popularity's NDCG@10" in text
    assert "together 1.13 times (1.08 to 1.20) the better of the two" in text
    assert "with both is 34 times (32 to 35) chance" in text
    assert "category 6.2 times (6.1 to 6.3) as often as chance" in text
    assert "0.70 ±0.02 of the attention" in text


def test_what_varies_with_the_seed_has_an_interval_where_there_are_several(figures):
    assert "seeds" not in block(figures)
    figures["seeds"] = {"warm": [0.15, 0.16, 0.17], "cold": [0.1, 0.11, 0.12], "ratio": [1.2, 1.3, 1.4]}
    text = block(figures)
    assert "Over 3 seeds" in text
    assert "NDCG@10 with both is 0.160 (0.135 to 0.185) warm" in text
    assert "1.30 (1.05 to 1.55) times the better of the two" in text
