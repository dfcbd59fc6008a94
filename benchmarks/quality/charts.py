"""Bar charts with confidence intervals, as SVG text."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

VISREC_COLOUR, OTHER_COLOUR, SEED_COLOUR = "#76b900", "#9aa0a6", "#202124"


def bars(title: str, figures: dict[str, dict[str, Any]]) -> str:
    """One bar a model, its 95% interval over users as a whisker, and a dot for each seed.

    Args:
        title: stands above.
        figures: model → `mean`, `low`, `high`, `seeds`, from top to bottom.
    """
    figure = Figure(figsize=(6.4, 0.7 + 0.3 * len(figures)), layout="constrained")
    axes = figure.subplots()
    for place, (model, value) in enumerate(figures.items()):
        colour = VISREC_COLOUR if model.startswith("visrec") else OTHER_COLOUR
        whisker = [[value["mean"] - value["low"]], [value["high"] - value["mean"]]]
        axes.barh(place, value["mean"], color=colour, xerr=whisker, capsize=2, ecolor="#5f6368")
        if len(value["seeds"]) > 1:
            axes.plot(value["seeds"], [place] * len(value["seeds"]), "o", color=SEED_COLOUR, markersize=2.5)
    axes.set_yticks(range(len(figures)), list(figures))
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    written = io.StringIO()
    # text stays text, and the same figures give the same file
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(r"^.*?(?=<svg)", "", written.getvalue(), flags=re.DOTALL)
