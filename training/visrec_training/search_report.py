"""A search as one page that needs nothing else: the best trials, and charts of all of them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import optuna.visualization as charts
from jinja2 import Environment, PackageLoader, StrictUndefined
from optuna.trial import FrozenTrial, TrialState
from plotly.offline import get_plotlyjs

from visrec_training.files import write_text
from visrec_training.hyper_search import ERROR, FIGURES, Search

SHOWN = 10  # trials in the table
ENOUGH = 4  # measured trials, for charts that compare
JUDGED = "mean of the validations"

_ENVIRONMENT = Environment(
    loader=PackageLoader("visrec_training"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["shown"] = lambda value: f"{value:.3g}" if isinstance(value, float) else value


@dataclass(frozen=True, slots=True)
class Row:
    """A trial in the table."""

    number: int
    figures: dict[str, float]
    mean: float
    epochs: str
    parameters: dict[str, Any]
    note: str


def write_report(path: Path, search: Search) -> None:
    """Write the page.

    Args:
        path: an HTML file.
        search: at least its first trial has ended, and came to figures.

    Raises:
        VisrecError: the file can't be written.
    """
    measured = [trial for trial in search.ended if FIGURES in trial.user_attrs]
    first, best = measured[0], search.best
    ranked = sorted(
        measured, key=lambda trial: (trial.number != best.number, not _holds(trial), -_mean(trial))
    )
    shown = ranked[:SHOWN] if first in ranked[:SHOWN] else [*ranked[: SHOWN - 1], first]
    html = _ENVIRONMENT.get_template("search.html.j2").render(
        rows=[_row(trial, first, best) for trial in shown],
        figures=list(first.user_attrs[FIGURES]),
        searched=list(search.space),
        start=first.params,
        ended=len(search.ended),
        given_up=sum(trial.state is TrialState.PRUNED for trial in measured),
        failed=[trial for trial in search.ended if ERROR in trial.user_attrs],
        error=ERROR,
        plotly=get_plotlyjs(),
        charts=_charts(measured),
    )
    write_text(path, html)


def _row(trial: FrozenTrial, first: FrozenTrial, best: FrozenTrial) -> Row:
    notes = {
        "best": trial.number == best.number,
        "start": trial.number == first.number,
        "given up": trial.state is TrialState.PRUNED,
        "worse on one validation": not _holds(trial),
    }
    epochs, chosen = trial.user_attrs["epochs"], trial.user_attrs["best epoch"]
    return Row(
        trial.number,
        trial.user_attrs[FIGURES],
        _mean(trial),
        f"{chosen} of {epochs}",
        trial.params,
        ", ".join(note for note, applies in notes.items() if applies),
    )


def _mean(trial: FrozenTrial) -> float:
    figures = trial.user_attrs[FIGURES].values()
    return float(sum(figures) / len(figures))


def _holds(trial: FrozenTrial) -> bool:
    """Whether a trial is on no validation worse than the first."""
    return all(value <= 0 for value in trial.constraints.values())


def _charts(measured: list[FrozenTrial]) -> dict[str, str]:
    """Title → chart as HTML, in which a trial that was given up counts with what it had reached."""
    study = optuna.create_study(direction="maximize")
    for trial in measured:
        while len(study.trials) < trial.number:  # a study numbers what is added; these came to no figures
            study.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))
        whole = copy.deepcopy(trial)
        whole.state, whole.value = TrialState.COMPLETE, _mean(trial)
        study.add_trial(whole)
    drawn = {"How the search went": charts.plot_optimization_history(study, target_name=JUDGED)}
    if len(measured) >= ENOUGH and len({_mean(trial) for trial in measured}) > 1:
        drawn |= {
            "What matters": charts.plot_param_importances(study, target_name=JUDGED),
            "Each setting": charts.plot_slice(study, target_name=JUDGED),
            "Settings together": charts.plot_parallel_coordinate(study, target_name=JUDGED),
        }
    return {
        title: figure.update_layout(title=None, margin_t=40).to_html(full_html=False, include_plotlyjs=False)
        for title, figure in drawn.items()
    }
