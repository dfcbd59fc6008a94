"""An evaluation's report as text."""

from __future__ import annotations


def format_report(report: dict[str, object]) -> str:
    """The report as aligned text tables."""
    lines = []
    for section, table in report.items():
        if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
            lines.append(f"{section}: {_plain(table)}")
            continue
        columns = {column: max(11, len(column) + 2) for column in next(iter(table.values()))}
        width = max(len(name) for name in (section, *table))
        lines += ["", f"{section:<{width}}" + "".join(f"{name:>{wide}}" for name, wide in columns.items())]
        for name, metrics in table.items():
            values = "".join(f"{metrics[column]:>{wide}.4f}" for column, wide in columns.items())
            lines.append(f"{name:<{width}}{values}")
        lines.append("")
    return "\n".join(lines).strip()


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    return f"{value:.3f}" if isinstance(value, float) else str(value)
