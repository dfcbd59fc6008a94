"""How well typed texts find items, through a running server, beside the bare cosine of the sentence encoder.

    python -m benchmarks.search --data build/demo/data --queries queries.parquet --url localhost:8001

`queries` is a table with the columns query, language, kind and items (a list of the right ids). Exact titles
and titles with one mistake are made from the data. Texts are sent alone: no picture, no history.
"""

from __future__ import annotations

import argparse
import json
import random
import string
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet
from benchmarks.quality_figures import commit, fill_in, machine

from visrec_client import Recommender, Request
from visrec_client.errors import VisrecError
from visrec_training.bootstrap import interval, resampled_means
from visrec_training.data import Catalogue, read_dataset
from visrec_training.files import write_text
from visrec_training.item_texts import load_text_graph
from visrec_training.text.encoders import USE_MULTILINGUAL

TOP = 10
_SHOWN = ("first", "recall@10", "any right in 10")
Found = list[list[str]]
"""For each text the ids of the best ten items."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, and keep it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the data that is served")
    parser.add_argument("--queries", type=Path, required=True, help="a Parquet table")
    parser.add_argument("--url", default="localhost:8001", help="host:port of the server's gRPC")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/search.json"))
    parser.add_argument("--docs", type=Path, metavar="FILE", help="Markdown that holds <!-- search -->")
    args = parser.parse_args(argv)
    catalogue = read_dataset(args.data).catalogue
    rows = {**_queries(args.queries), **_titles(catalogue)}
    figures: dict[str, dict[str, object]] = {}
    with Recommender(args.url, timeout=60) as recommender:
        for name, (texts, right) in rows.items():
            served = _ask(recommender, texts)
            figures[name] = {"texts": len(texts), **_figures("visrec", served, right)}
            figures[name] |= _figures("bare cosine", _cosine(texts, catalogue), right)
            print(_line(name, figures[name]), flush=True)
    write_text(args.out, json.dumps({"machine": machine(), "commit": commit(), **figures}, indent=2) + "\n")
    if args.docs:
        fill_in(args.docs, "search", f"\n{_table(figures)}\n")
    return 0


def _queries(path: Path) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Texts and right answers, by language and kind."""
    found: dict[str, tuple[list[str], list[list[str]]]] = defaultdict(lambda: ([], []))
    for row in pyarrow.parquet.read_table(path).to_pylist():
        texts, right = found[f"{row['language']} {row['kind']}"]
        texts.append(row["query"])
        right.append(row["items"])
    return dict(sorted(found.items()))


def _titles(catalogue: Catalogue) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Titles that one item has, as they are and with one mistake."""
    counts = Counter(catalogue.titles)
    alone = [row for row, title in enumerate(catalogue.titles) if title and counts[title] == 1]
    titles, right = [catalogue.titles[row] for row in alone], [[catalogue.item_ids[row]] for row in alone]
    rng = random.Random(0)  # noqa: S311  (no secret)
    return {"exact titles": (titles, right), "misspelt titles": ([_misspell(t, rng) for t in titles], right)}


def _misspell(title: str, rng: random.Random) -> str:
    """One letter replaced, left out, added, or swapped with its neighbour."""
    place, letter = rng.randrange(len(title)), rng.choice(string.ascii_lowercase)
    before, after = title[:place], title[place + 1 :]
    swapped = before[:-1] + title[place] + before[-1:] + after
    return rng.choice((before + letter + after, before + after, before + letter + title[place:], swapped))


def _ask(recommender: Recommender, texts: Sequence[str]) -> Found:
    answers = recommender.recommend_many([Request(text=text, k=TOP) for text in texts])
    if failed := [answer for answer in answers if isinstance(answer, VisrecError)]:
        raise failed[0]
    return [[item.item_id for item in answer.items] for answer in answers]  # type: ignore[union-attr]


def _cosine(texts: Sequence[str], catalogue: Catalogue) -> Found:
    """The encoder as it is: texts against titles."""
    graph = load_text_graph(USE_MULTILINGUAL)
    scores = graph(texts).sentence @ graph(catalogue.titles).sentence.T
    return [[catalogue.item_ids[row] for row in best] for best in np.argsort(-scores, axis=1)[:, :TOP]]


def _figures(name: str, found: Found, right: Sequence[Sequence[str]]) -> dict[str, object]:
    """Shares of texts and of right answers, with a bootstrap interval over texts."""
    pairs = list(zip(found, map(set, right), strict=True))
    first = np.asarray([each[:1] and each[0] in wanted for each, wanted in pairs], dtype=float)
    recall = np.asarray([len(wanted & {*each}) / min(TOP, len(wanted)) for each, wanted in pairs])
    return {
        f"{name}: first": float(first.mean()),
        f"{name}: recall@10": float(recall.mean()),
        f"{name}: any right in 10": float((recall > 0).mean()),
        f"{name}: 95% interval of recall@10": interval(
            resampled_means(recall, np.arange(len(recall)))
        ).tolist(),
    }


def _table(figures: dict[str, dict[str, object]]) -> str:
    columns = [f"{model}: {each}" for model in ("visrec", "bare cosine") for each in _SHOWN]
    lines = [f"| searches | texts | {' | '.join(columns)} |", "| --- " * (2 + len(columns)) + "|"]
    for name, row in figures.items():
        cells = [f"{row[column]:.3f}" for column in columns]
        lines.append(f"| {name} | {row['texts']:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _line(name: str, figures: dict[str, object]) -> str:
    parts = [
        f"{model} " + " ".join(f"{figures[f'{model}: {each}']:.3f}" for each in _SHOWN)
        for model in ("visrec", "bare cosine")
    ]
    return f"{name:<16}{figures['texts']:>6} texts; first, recall@10, any: {'; '.join(parts)}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VisrecError as error:
        sys.exit(f"visrec: error: {error}")
