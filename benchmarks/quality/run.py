"""Trains and measures everything on every set; goes on where an earlier run stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.quality import cornac_baselines, rectools_baselines
from benchmarks.quality.blend import NEW_WEIGHTS, WEIGHTS, Blend
from benchmarks.quality.cornac_baselines import CORNAC
from benchmarks.quality.edlae import STRENGTHS, edlae
from benchmarks.quality.exported import Figures, agreement
from benchmarks.quality.measure import Measured, asked, measure
from benchmarks.quality.rectools_baselines import RECTOOLS, SASREC
from benchmarks.quality.sentences import ENCODER, centroid_of_sentences
from benchmarks.quality.summary import BEST_BASELINE, against_best, summarise
from benchmarks.quality.visrec_run import (
    BEST,
    VARIANTS,
    VISREC,
    Overrides,
    prepared_for,
    served,
    train_visrec,
)
from benchmarks.quality_figures import commit, machine
from tqdm import tqdm

import visrec_training
from visrec_client.errors import VisrecError
from visrec_training.baselines import (
    NEIGHBOURS,
    RIDGES,
    Baseline,
    ItemToItem,
    Popularity,
    best_item_knn,
    liked_together,
    rank,
    validated,
)
from visrec_training.centroids import CONTENT, Centroid
from visrec_training.errors import DataError
from visrec_training.files import write_text
from visrec_training.prepare import Prepared
from visrec_training.queries import Section
from visrec_training.retrieval import Modalities
from visrec_training.split import Split

NEW_ITEMS = ("cold alone", "cold")
NOBODY = "nothing"
KNOWN_PEOPLE = ("warm", *NEW_ITEMS, "mixed")
COMPARED = (VISREC, "visrec without pictures")
"""Trained with every seed; other variants, which show what a part is worth, once."""
MEASURED, EXPORTED = "measured.npz", "exported.json"


@dataclass(frozen=True, slots=True)
class Task:
    """One model, trained once on one set."""

    model: str
    seed: int
    folder: Path
    """Its own; named by data, options and source too, so that what was measured with others doesn't count."""
    run: Callable[[Path], Measured]
    """Trains, in the folder if it needs one, and measures."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    data: list[Path]
    work: Path
    """Keeps checkpoints and what is measured."""
    cache: Path
    """Keeps what the encoder saw."""
    seeds: int
    cornac: Path | None
    """Python of Cornac's environment; None to leave BPR and VBPR out."""
    rectools: Path | None
    """Python of RecTools' environment; None to leave iALS and SASRec out."""
    variants: tuple[str, ...]
    """Of `VARIANTS`."""
    exported: bool
    """Whether visrec is measured as it is served too, trained with the first seed."""


def run(plan: Plan, out: Path) -> dict[str, Any]:
    """Do what isn't done yet, and write the results; those of other sets stay.

    Returns:
        Set → `machine`, `commit`, `models`, each with the rows of `summarise`, and `exported`, if it was.

    Raises:
        VisrecError: a folder holds no data with a split, or a training failed.
    """
    if plan.cornac:
        CORNAC.check(plan.cornac)
    if plan.rectools:
        RECTOOLS.check(plan.rectools)
    results = read_results(out)
    for data in plan.data:
        tasks = list(_tasks(plan, data))
        models: dict[str, list[Measured]] = {}
        with tqdm(tasks, desc=data.name, unit="model") as progress:
            for task in progress:
                progress.set_postfix_str(f"{task.model}, seed {task.seed}")
                path = task.folder / MEASURED
                if not path.is_file():
                    task.run(task.folder).save(path)
                models.setdefault(task.model, []).append(Measured.load(path))
        results[data.name] = {"machine": machine(), "commit": commit(), "models": _summary(models)}
        if plan.exported:
            task = next(task for task in tasks if task.model == VISREC)
            results[data.name]["exported"] = _exported(task.folder, data, plan.cache)
        write_text(out, json.dumps(results, indent=1) + "\n")
    return results


def read_results(path: Path) -> dict[str, Any]:
    """What `run` wrote; nothing where there is no such file.

    Raises:
        VisrecError: it is damaged.
    """
    try:
        return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise VisrecError(f"can't read results from {path}: {error}") from error


def _summary(models: dict[str, list[Measured]]) -> dict[str, Any]:
    summaries = {model: summarise(seeds) for model, seeds in models.items()}
    if VISREC in models:
        others = {model: seeds for model, seeds in models.items() if model not in VARIANTS}
        summaries[VISREC][BEST_BASELINE] = against_best(models[VISREC], others)
    return summaries


def first_seeds(plan: Plan, data: Path) -> dict[str, Measured]:
    """What was measured of each model with its first seed, so far."""
    first = {task.model: task for task in _tasks(plan, data) if task.seed == 0}
    paths = {model: task.folder / MEASURED for model, task in first.items()}
    return {model: Measured.load(path) for model, path in paths.items() if path.is_file()}


def _exported(trained: Path, data: Path, cache: Path) -> Figures:
    """What visrec, trained in a folder, reaches as it is served."""
    path = trained / EXPORTED
    if not path.is_file():
        checkpoint = trained / BEST
        model = served(checkpoint, data, cache, VARIANTS[VISREC])
        figures = agreement(checkpoint, model, prepared_for(data, cache), cache)
        write_text(path, json.dumps(figures, indent=1) + "\n")
    return json.loads(path.read_text("utf-8"))


def digest(options: object, data: Path, *sources: Path) -> str:
    """Name what was measured by all that it was made from: options, tables, visrec's source and others."""
    tables = [path for name in ("items", "interactions") for path in sorted(data.glob(f"{name}.*"))]
    sha = hashlib.sha256(repr(options).encode())
    for path in (*tables, *sorted(Path(visrec_training.__path__[0]).glob("*.py")), *sources):
        sha.update(path.read_bytes())
    return sha.hexdigest()[:12]


def _tasks(plan: Plan, data: Path) -> Iterator[Task]:
    whole = prepared_for(data, plan.cache)
    if not whole.split.is_fixed:
        raise DataError(f"the interactions in {data} have no column split, which all models must share")
    rows = asked(whole.split)

    def task(
        model: str, seed: int, options: object, measured: Callable[[Path], Measured], *sources: str
    ) -> Task:
        plain = model.replace(" ", "-").replace(",", "")
        made_of = digest(options, data, *(Path(__file__).with_name(source) for source in sources))
        return Task(model, seed, plan.work / data.name / f"{plain}-{seed}-{made_of}", measured)

    for each in _baselines(plan, whole):
        known = {name: rows[name] for name in each.rows if name in rows}
        measured = partial(_baseline, each.fit, whole, known)
        yield task(each.model, each.seed, each.options, measured, *each.sources)
    for variant in plan.variants:
        overrides = VARIANTS[variant]
        for seed in range(plan.seeds if variant in COMPARED else 1):
            measured = partial(_visrec, whole, rows, data, plan.cache, seed, overrides)
            yield task(variant, seed, overrides, measured, "visrec_run.py")


class _Compared(NamedTuple):
    """A baseline, and how to fit it."""

    model: str
    options: object
    fit: Callable[[], Baseline]
    rows: tuple[str, ...]
    """Those that it can say something about."""
    sources: tuple[str, ...] = ()
    """Of the files beside this one, those that it is made from."""
    seed: int = 0


def _baselines(plan: Plan, prepared: Prepared) -> Iterator[_Compared]:
    yield from _closed_forms(prepared)
    if plan.cornac:
        yield from _by_cornac(prepared, plan.seeds, plan.cornac)
    if plan.rectools:
        yield from _by_rectools(prepared, plan.seeds, plan.rectools)


def _closed_forms(prepared: Prepared) -> Iterator[_Compared]:
    split = prepared.split
    rows = tuple(asked(split))
    people = tuple(name for name in rows if name not in NEW_ITEMS)
    together = cache(partial(liked_together, split))

    def ease(ridge: float) -> ItemToItem:
        return ItemToItem.ease(together(), ridge)

    def dropping(strengths: tuple[float, float]) -> ItemToItem:
        return edlae(together(), *strengths)

    ridge = cache(partial(validated, RIDGES, ease, split))
    yield _Compared("Popularity", (), partial(Popularity.fit, split), people)
    yield _Compared("ItemKNN", NEIGHBOURS, partial(best_item_knn, split), people)
    yield _Compared("EASE", RIDGES, lambda: ease(ridge()), people)
    best_edlae = partial(validated, STRENGTHS, dropping, split)
    yield _Compared("EDLAE", STRENGTHS, lambda: dropping(best_edlae()), people, ("edlae.py",))
    for name, options, content, sources in _centroids(prepared):
        yield _Compared(f"Centroid of {name}", options, content, KNOWN_PEOPLE, sources)
        blended = partial(_blend, split, ridge, content)
        chosen = (*options, RIDGES, WEIGHTS, NEW_WEIGHTS)
        yield _Compared(f"EASE + centroid of {name}", chosen, blended, rows, ("blend.py", *sources))


def _centroids(
    prepared: Prepared,
) -> Iterator[tuple[str, tuple[object, ...], Callable[[], Centroid], tuple[str, ...]]]:
    """Name, options, how to fit it, and what else than visrec's source it is made from."""
    for name, (words, pictures) in CONTENT.items():
        fit = partial(Centroid.fit, prepared, words=words, pictures=pictures)
        yield name, (words, pictures), fit, ()
    yield "sentences", (ENCODER,), partial(centroid_of_sentences, prepared), ("sentences.py",)


def _by_cornac(prepared: Prepared, seeds: int, python: Path) -> Iterator[_Compared]:
    for (model, options), seed in product(cornac_baselines.OPTIONS.items(), range(seeds)):
        fit = partial(cornac_baselines.train, model, prepared, seed, python)
        known = KNOWN_PEOPLE if model == "VBPR" else ("warm",)
        yield _Compared(model, options, fit, known, ("cornac_baselines.py", CORNAC.child), seed)


def _by_rectools(prepared: Prepared, seeds: int, python: Path) -> Iterator[_Compared]:
    rows = {row: section for row, section in asked(prepared.split).items() if row not in (*NEW_ITEMS, NOBODY)}
    for (model, options), seed in product(rectools_baselines.OPTIONS.items(), range(seeds)):
        if model != SASREC or prepared.split.has_order:
            fit = partial(rectools_baselines.train, model, prepared, tuple(rows.values()), seed, python)
            yield _Compared(model, options, fit, tuple(rows), ("rectools_baselines.py", RECTOOLS.child), seed)


def _blend(split: Split, ridge: Callable[[], float], content: Callable[[], Centroid]) -> Blend:
    return Blend.fit(split, ridge(), content())


def _baseline(fit: Callable[[], Baseline], prepared: Prepared, rows: dict[str, Section], _: Path) -> Measured:
    return measure(partial(rank, fit()), prepared, rows)


def _visrec(
    whole: Prepared,
    rows: dict[str, Section],
    data: Path,
    cache: Path,
    seed: int,
    overrides: Overrides,
    folder: Path,
) -> Measured:
    checkpoint, cost = train_visrec(data, cache, seed, folder, overrides)
    model = served(checkpoint, data, cache, overrides)
    measured = measure(lambda section: model.rank(section, Modalities(history=True)), whole, rows)
    measured.besides["cost"] = {"seconds": cost.seconds, "peak GB": cost.peak_gb}
    return measured
