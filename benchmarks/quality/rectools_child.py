"""Trains iALS or SASRec; run by the python of RecTools' environment, which has no visrec.

    python rectools_child.py iALS IN.npz OUT.npz '{"seed": 0, "factors": 64, …}'

IN: `train` and `asked`, histories one after another, int64, oldest item first, with `train_lengths` and
`asked_lengths`; `count`, the number N of items. OUT: for each of C fits that validation chooses from, float32
`histories` [C, Q, k] and `items` [C, N, k], so that histories @ items.T are the scores for the Q that are
asked. A history without a known item has a vector of 0, and so has an item that training never met.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd  # type: ignore[import-untyped, unused-ignore]
import torch
from implicit.cpu.als import AlternatingLeastSquares  # type: ignore[import-not-found, unused-ignore]
from pytorch_lightning import seed_everything  # type: ignore[import-not-found, unused-ignore]
from rectools import Columns  # type: ignore[import-not-found, unused-ignore]
from rectools.dataset import Dataset  # type: ignore[import-not-found, unused-ignore]
from rectools.models import SASRecModel  # type: ignore[import-not-found, unused-ignore]
from scipy import sparse

Histories = list[npt.NDArray[np.int64]]
Vectors = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
BLOCK = 256  # histories read at a time


def ials(train: Histories, asked: Histories, count: int, options: dict[str, Any]) -> Iterator[Vectors]:
    """Vectors of histories and items, for each `alpha` with each `regularization`."""
    liked, known = _matrix(train, count), _matrix(asked, count)
    alphas, regularizations = options.pop("alpha"), options.pop("regularization")
    options["random_state"] = options.pop("seed")
    for alpha, regularization in product(alphas, regularizations):
        model = AlternatingLeastSquares(alpha=alpha, regularization=regularization, **options)
        model.fit(liked, show_progress=False)
        yield model.recalculate_user(np.arange(len(asked)), known), model.item_factors


def sasrec(train: Histories, asked: Histories, count: int, options: dict[str, Any]) -> Iterator[Vectors]:
    """Vectors of histories and items after so many `epochs`, for each number of them."""
    stops, seed = options.pop("epochs"), options.pop("seed")
    seed_everything(seed)
    model, dataset, done = SASRecModel(**options, deterministic=True), _dataset(train), 0
    for stop in stops:
        model.fit_partial(dataset, min_epochs=stop - done, max_epochs=stop - done)
        done = stop
        yield _read(model, asked, count)


def _read(model: SASRecModel, asked: Histories, count: int) -> Vectors:
    """What SASRec makes of histories, and its items, in the order of the catalogue."""
    known = model.data_preparator.get_known_item_ids().astype(np.int64)
    number = np.zeros(count, np.int64)
    number[known] = np.arange(1, len(known) + 1)  # its own numbers of items; 0 is for padding
    sessions = np.zeros((len(asked), model.session_max_len), np.int64)
    for session, history in zip(sessions, asked, strict=True):
        read = number[history]
        read = read[read > 0][-len(session) :]
        session[len(session) - len(read) :] = read
    network = model.torch_model.eval()
    with torch.no_grad():
        embedded = network.item_model.get_all_embeddings()
        blocks = torch.from_numpy(sessions).split(BLOCK)
        ends = torch.cat([network.encode_sessions({"x": block}, embedded)[:, -1] for block in blocks])
    histories = ends.numpy() * sessions.any(axis=1, keepdims=True)
    items = embedded.numpy()[number] * (number > 0)[:, None]
    return histories, items


def _dataset(train: Histories) -> Dataset:
    place = np.concatenate([np.arange(len(history)) for history in train])
    return Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: np.repeat(np.arange(len(train)), [len(history) for history in train]),
                Columns.Item: np.concatenate(train),
                Columns.Weight: 1.0,
                Columns.Datetime: pd.Timestamp(0) + pd.to_timedelta(place, unit="s"),
            }
        )
    )


def _matrix(histories: Histories, count: int) -> sparse.csr_matrix:
    """1 where a history holds an item: float32 [n, N]."""
    once = [np.unique(history) for history in histories]
    ends = np.cumsum([0, *(len(history) for history in once)])
    values = np.ones(ends[-1], np.float32)
    return sparse.csr_matrix((values, np.concatenate(once), ends), (len(once), count))


def main(name: str, source: str, out: str, options: str) -> None:
    """Train, and write the vectors."""
    with np.load(source) as given:
        train, asked = (
            np.split(given[each], np.cumsum(given[f"{each}_lengths"])[:-1]) for each in ("train", "asked")
        )
        count = int(given["count"])
    fits = {"iALS": ials, "SASRec": sasrec}[name](train, asked, count, json.loads(options))
    histories, items = (np.stack(each) for each in zip(*fits, strict=True))
    np.savez(out, histories=histories.astype(np.float32), items=items.astype(np.float32))


if __name__ == "__main__":
    main(*sys.argv[1:])
