"""An evaluation's report as text."""

from __future__ import annotations

from typing import Any

INTERVAL = " interval"
"""Ends the name of what holds the two ends of a figure's interval."""


def format_report(report: dict[str, object]) -> str:
    """The report as aligned text tables; ± is half of a 95% interval."""
    lines = []
    for section, table in report.items():
        if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
            lines.append(f"{section}: {_plain(table)}")
            continue
        columns = [name for name in next(iter(table.values())) if not name.endswith(INTERVAL)]
        cells = [[section, *columns]]
        cells += [[name, *(cell(row, column) for column in columns)] for name, row in table.items()]
        lines += ["", *aligned(cells), ""]
    return "\n".join(lines).strip()


def aligned(cells: list[list[str]]) -> list[str]:
    """A table's lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        f"{head:<{widths[0]}}"
        + "".join(f"{value:>{max(11, width + 2)}}" for value, width in zip(values, widths[1:], strict=True))
        for head, *values in cells
    ]


def half_width(ends: list[float], digits: int = 4) -> str:
    """How sure a figure is, from the two ends of its interval: ± half of what lies between."""
    low, high = ends
    return f"±{(high - low) / 2:.{digits}f}"


def cell(row: dict[str, Any], column: str) -> str:
    """A figure of a row, and how sure it is where the row has its interval."""
    return f"{row[column]:.4f}{_sure(row, column)}"


def _sure(row: dict[str, Any], column: str) -> str:
    ends = row.get(f"{column}{INTERVAL}")
    return f" {half_width(ends)}" if ends else ""


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    if isinstance(value, dict):
        told = (name for name in value if not name.endswith(INTERVAL))
        return ", ".join(f"{name} {_plain(value[name])}{_sure(value, name)}" for name in told)
    return f"{value:.3f}" if isinstance(value, float) else str(value)
