"""What the results say, for people: Markdown for the docs, and a page with charts and example rankings."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.quality import ROOT
from benchmarks.quality.charts import bars
from benchmarks.quality.measure import EXAMPLES, Measured, asked
from benchmarks.quality.summary import BEST_BASELINE, COMPARED_BY
from benchmarks.quality.visrec_run import VISREC
from PIL import Image

from visrec_client.errors import VisrecError
from visrec_training.bootstrap import RESAMPLES
from visrec_training.data import Catalogue
from visrec_training.prepare import Prepared
from visrec_training.rows import Rows

COLUMNS = ("ndcg@10", "recall@20")
TABLES = {
    "Items that training saw": ("warm",),
    "New items": ("cold alone", "cold"),
    "Known and new items in one ranking": ("mixed",),
    "New people": ("nothing", "history-1", "history-3", "history-5"),
}
OVERVIEW = {
    "warm": "items that training saw",
    "cold alone": "new items, among each other",
    "mixed": "known and new items",
}
ROW_NAMES = {
    "warm": "",
    "cold alone": "among each other, ",
    "cold": "among all, ",
    "mixed": "known and new, ",
    "nothing": "nobody known, ",
    "history-1": "1 item known, ",
    "history-3": "3 items, ",
    "history-5": "5 items, ",
}
BESIDES = ("new among known", "beyond accuracy", "calibration", "cost")
THUMBNAIL = 96
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .2rem .7rem; text-align: right }
td:first-child, th:first-child { text-align: left } tr:nth-child(even) { background: #f4f5f6 }
.scroll { overflow-x: auto } figure { margin: 1rem 0 } svg { max-width: 100%; height: auto }
.row { display: flex; gap: 4px; overflow-x: auto; align-items: center }
.row b { flex: 0 0 9rem; font-weight: 500 } .row img { height: 96px; border: 3px solid transparent }
.row img.right { border-color: #76b900 }
"""

Set = dict[str, dict[str, Any]]
Table = list[list[str]]


def markdown(results: dict[str, Any]) -> str:
    """The section for the docs: all sets in one table, then per set a table a question."""
    lines = ["### All sets", "", *_lines(overview(results)), ""]
    for name, measured in results.items():
        lines += [f"### {name}", "", _measured(measured), ""]
        made = tables(measured["models"])
        if "exported" in measured:
            made["The same model as it is served"] = _exported(measured["exported"])
        for title, table in made.items():
            lines += [f"**{title}**", "", *_lines(table), ""]
    return "\n".join(lines)


def overview(results: dict[str, Any]) -> Table:
    """NDCG@10 of visrec and of the best baseline, on each set."""
    body = [
        [
            name,
            OVERVIEW[row],
            _figure(models[VISREC], row, COMPARED_BY),
            _figure(models[best["model"]], row, COMPARED_BY),
            *_against(best),
        ]
        for name, measured in results.items()
        if BEST_BASELINE in (models := measured["models"]).get(VISREC, {})
        for row, best in models[VISREC][BEST_BASELINE].items()
        if row in OVERVIEW
    ]
    head = [f"visrec, {COMPARED_BY}", f"best baseline, {COMPARED_BY}", "which baseline", "ratio", "p"]
    return [["set", "ranked", *head], *body]


def tables(models: Set) -> dict[str, Table]:
    """The tables of a set, as text, the heads first; a row a model that has anything to say."""
    made: dict[str, Table] = {}
    for title, rows in TABLES.items():
        head = ["model", *(f"{ROW_NAMES[row]}{column}" for row in rows for column in COLUMNS)]
        body = [
            [model, *(_figure(figures, row, column) for row in rows for column in COLUMNS)]
            for model, figures in models.items()
            if any(row in figures for row in rows)
        ]
        if body:
            made[title] = [head, *body]
    if compared := models.get(VISREC, {}).get(BEST_BASELINE):
        made["visrec next to the best baseline"] = _compared(compared)
    for title in BESIDES:
        columns = list(dict.fromkeys(c for figures in models.values() for c in figures.get(title, {})))
        body = [
            [model, *(f"{figures[title][column]:.3g}" for column in columns)]
            for model, figures in models.items()
            if title in figures
        ]
        if body:
            made[title.capitalize()] = [["model", *columns], *body]
    return made


def _compared(rows: dict[str, dict[str, Any]]) -> Table:
    head = ["row", "best baseline", f"ratio of {COMPARED_BY}", "p"]
    named = {row: ROW_NAMES[row].removesuffix(", ") or OVERVIEW[row] for row in rows}
    return [head, *([named[row], *_against(best)] for row, best in rows.items())]


def _against(best: dict[str, Any]) -> list[str]:
    """The best baseline, and how visrec compares with it."""
    least = 2 / (1 + RESAMPLES)
    sure = f"{best['p']:.3f}" if best["p"] > least else f"< {least:.3f}"
    return [best["model"], f"{best['ratio']:.2f}", sure]


def _exported(figures: dict[str, dict[str, dict[str, float]]]) -> Table:
    head = ["computed by", *(f"{ROW_NAMES[row]}{column}" for row in figures for column in COLUMNS)]
    computed_by = next(iter(figures.values()))
    return [
        head,
        *(
            [who, *(f"{figures[row][who][column]:.4f}" for row in figures for column in COLUMNS)]
            for who in computed_by
        ),
    ]


def page(results: dict[str, Any], examples: dict[str, str]) -> str:
    """The HTML page; `examples` are `example_rankings` by set."""
    parts = [_html(overview(results))]
    for name, measured in results.items():
        models = measured["models"]
        parts.append(f"<h2>{html.escape(name)}</h2><p>{html.escape(_measured(measured))}</p>")
        for row in ROW_NAMES:
            known = {model: figures[row]["ndcg@10"] for model, figures in models.items() if row in figures}
            if known:
                parts.append(f"<figure>{bars(f'{name}, {row}: NDCG@10', known)}</figure>")
        for title, table in tables(models).items():
            parts.append(f"<h3>{html.escape(title)}</h3>{_html(table)}")
        parts.append(examples.get(name, ""))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Recommendation quality</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        "<h1>Recommendation quality</h1><p>Bars are means; whiskers hold the mean in 95% of bootstrap samples"
        f" over users; dots are seeds.</p>{''.join(parts)}</html>\n"
    )


def example_rankings(prepared: Prepared, measured: dict[str, Measured]) -> str:
    """HTML of what a few people liked and what each model answers them; right answers have a border.

    The pictures are inside, made small. They belong to whoever made them: keep the page to yourself.
    """
    parts, catalogue = ["<h3>Examples</h3>"], prepared.dataset.catalogue
    for row, section in asked(prepared.split).items():
        if row not in ("warm", "cold alone"):
            continue
        queries = section.queries
        for number in range(min(EXAMPLES, len(queries))):
            parts.append(f"<h4>{html.escape(row)}, person {int(queries.users[number])}</h4>")
            recent, right = queries.histories[number][-10:], queries.targets[number]
            parts.append(_pictures("liked", recent, np.zeros(0, dtype=np.int64), catalogue))
            parts += [
                _pictures(model, each.examples[row][number], right, catalogue)
                for model, each in measured.items()
                if row in each.examples
            ]
    return "".join(parts)


def refuse_in_repository(path: Path) -> None:
    """Keep pages with other people's pictures out of what is committed.

    Raises:
        VisrecError: the path is inside the repository, outside build/.
    """
    path = path.resolve()
    if path.is_relative_to(ROOT) and not path.is_relative_to(ROOT / "build"):
        raise VisrecError(
            f"{path} would put pictures that aren't ours into the repository: write under build/"
        )


def _figure(figures: dict[str, Any], row: str, column: str) -> str:
    if row not in figures:
        return "-"
    value = figures[row][column]
    spread = f" ± {np.std(value['seeds'], ddof=1):.4f}" if len(value["seeds"]) > 1 else ""
    return f"{value['mean']:.4f}{spread}"


def _measured(measured: dict[str, Any]) -> str:
    return f"Measured on {measured['machine']}, commit {measured['commit']}."


def _lines(table: Table) -> list[str]:
    head, *rows = table
    return [_line(head), _line(["---"] * len(head)), *map(_line, rows)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _html(table: Table) -> str:
    head, *rows = (
        "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
        for tag, cells in zip(["th", *["td"] * (len(table) - 1)], table, strict=True)
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _pictures(name: str, rows: Rows, right: Rows, catalogue: Catalogue) -> str:
    shown = "".join(
        f'<img class="{"right" if row in right else ""}" alt="{html.escape(catalogue.titles[row])}"'
        f' src="{_thumbnail(catalogue.images[row])}">'
        for row in rows.tolist()
        if row >= 0
    )
    return f'<div class="row"><b>{html.escape(name)}</b>{shown}</div>'


def _thumbnail(path: Path) -> str:
    with Image.open(path) as picture:
        small = picture.convert("RGB")
        small.thumbnail((2 * THUMBNAIL, THUMBNAIL))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=70)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"
