"""The collaborative space in closed form: where items lie by who chose them together.

How much one item of a history speaks for another is a regression (`item_weights`). It needs to know much of
a person; where a history is short, the main directions of a normalised co-occurrence do better, a low-pass
filter on the graph of people and items (GF-CF, Shen et al., CIKM 2021). A truncated SVD takes each of the two
matrices apart into what an item says (`source`) and what is said about it (`target`), and a ridge regression
from content to both places the items that nobody met.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

from visrec_training.attention import ROUNDING
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.item_tower import ItemTower, WordBag
from visrec_training.item_weights import DenseWeights, ItemWeights
from visrec_training.people import People
from visrec_training.rows import Ragged
from visrec_training.vocabulary import UNKNOWN

BLOCK = 1 << 16  # items at a time
OVERSAMPLING, ITERATIONS = 32, 6  # of the randomised SVD
Svd: TypeAlias = tuple[Tensor, Tensor, Tensor]
AUDIENCE_POWER = 0.4  # 0.5 is a cosine; less favours what many chose
APPEAL_POWER = 0.5  # of the softmax of a new visitor, before training


@dataclass(frozen=True)
class Learned:
    """What behaviour says about the items that people met, n of them."""

    rows: Tensor
    """int64 [n], their rows in the catalogue."""
    places: Tensor
    """float32 [n, place_width]: source, target and appeal."""
    landmarks: Tensor
    """int64 [l], the most met of them, in their order: matrices of all by all are made of these alone."""
    spreads: tuple[float, float]
    """How far histories of them move logits in the two parts: the mean over people of the deviation over
    items. 0 of a part that tells no item from another."""
    unit: float
    """By how much the weights are larger than the products of sources and targets; 0 where those are 0."""


def met_items(sequences: Ragged, count: int) -> Tensor:
    """Rows of the items that people met, int64 [n]."""
    return torch.from_numpy(np.flatnonzero(np.bincount(sequences.values, minlength=count)))


def learn_places(
    people: People, met: Tensor, landmarks: Tensor, weights: ItemWeights, config: ModelConfig
) -> Learned:
    """Place the items that people met.

    Args:
        people: who chose which of them; everyone of them was chosen.
        met: int64 [n], their rows in the catalogue.
        landmarks: int64 [l], of `Learned`.
        weights: how much one says for another.
        config: says how wide the two parts are.
    """
    told = people.told().double()
    apart = (
        (take_apart(weights.matrix, config.regression_dim), config.regression_dim),
        (_tastes(people, config.spectral_dim, dense=isinstance(weights, DenseWeights)), config.spectral_dim),
    )
    *factors, spreads, units = zip(*(_part(svd, rank, told) for svd, rank in apart), strict=True)
    sources, targets = (torch.cat(each, dim=1) for each in factors)
    log_counts = people.counts.log()
    appeal = APPEAL_POWER * (log_counts - log_counts.mean())
    places = torch.cat([sources, targets, appeal.unsqueeze(1)], dim=1).float()
    return Learned(met, places, landmarks, spreads, units[0])


@torch.no_grad()
def fit_places(
    tower: ItemTower, learned: Learned, features: sparse.csr_array, gists: Tensor, config: TrainConfig
) -> Tensor:
    """Fit the tower's collaborative parameters: content predicts places, ids say by how much it errs.

    Args:
        tower: gets the parameters.
        learned: what is to be predicted.
        features: float32 [N, V + 1], of the catalogue's words, from `word_features`.
        gists: float [N, d], of the catalogue's pictures.
        config: the regression's strength.

    Returns:
        float [n, place_width]: where each of the met items would be placed if nobody had met it.
    """
    chosen = learned.landmarks

    def words_of(met: Tensor) -> sparse.csr_array:
        return features[learned.rows[met].cpu().numpy()].astype(np.float64)

    words, looks = words_of(chosen), gists[learned.rows[chosen]].double()
    mean = looks.mean(0)
    apart = (looks - mean).norm(dim=1).mean()
    if apart > ROUNDING * looks.shape[1] ** 0.5:  # next to the length of a gist
        scale = config.picture_share / apart
    else:  # pictures all alike tell nothing
        scale = torch.zeros_like(apart)
    looks = (looks - mean) * scale
    kernel = torch.from_numpy((words @ words.T).toarray()).to(looks.device) + looks @ looks.T
    offset = learned.places.mean(0, dtype=torch.float64)
    kernel.diagonal().add_(config.content_ridge)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(kernel))
    known = learned.places[chosen] - offset
    duals = inverse @ known
    # what a regression says of unseen items (here of each landmark, left out in turn) is timid, and so puts
    # new items behind all known ones
    unseen = known - duals / inverse.diagonal().unsqueeze(1)
    duals *= (stretch := _stretch(known, unseen, tower.config, config.new_item_spread))
    by_words, by_looks = words.T @ duals.cpu().numpy(), scale * looks.T @ duals
    tower.words.places.weight.copy_(torch.from_numpy(by_words))
    tower.picture.places.weight.copy_(by_looks.T)
    tower.picture.places.bias.copy_(offset - by_looks.T @ mean)
    predicted = torch.empty_like(learned.places)
    for block in torch.arange(len(predicted), device=predicted.device).split(BLOCK):
        by_content = torch.from_numpy(words_of(block) @ by_words).to(looks.device)
        by_content += (gists[learned.rows[block]].double() - mean) @ by_looks + offset
        predicted[block] = by_content.float()
    tower.id_places.weight[learned.rows] = learned.places - predicted
    return predicted.index_copy(0, chosen, (unseen * stretch + offset).float())


def _tastes(people: People, rank: int, *, dense: bool) -> Svd:
    """The main directions of `taste`, which as a matrix of very many items would not fit."""
    if not (people.sizes > 1).any():  # an audience is like none but itself
        nothing = torch.zeros(people.chose.shape[1], rank, dtype=torch.float64, device=people.device)
        return nothing, nothing[0], nothing
    if dense:
        return take_apart(taste(people), rank)
    _, roots, directions = take_apart(people.shares(AUDIENCE_POWER), rank)  # taste is its square
    return directions, roots.square(), directions


def _stretch(known: Tensor, unseen: Tensor, model: ModelConfig, power: float) -> Tensor:
    """By how much to stretch predictions, [place_width], the same in all of a part.

    Args:
        known: float64 [n, place_width], deviations of places from their mean.
        unseen: float64 [n, place_width], what is predicted for them by all the other items.
        model: says how wide the parts are.
        power: 0 for not at all, 1 to the same spread.
    """
    widths = [model.regression_dim, model.spectral_dim] * 2 + [1]
    parts = zip(known.split(widths, dim=1), unseen.split(widths, dim=1), strict=True)
    ratios = torch.stack([_ratio(one.norm(), other.norm()) for one, other in parts])
    ratios[-1] = 1  # how popular an item will be is foretold too badly to be exaggerated
    return ratios.pow(power).repeat_interleave(torch.tensor(widths, device=known.device))


def _ratio(known: Tensor, unseen: Tensor) -> Tensor:
    """One norm by another; 1 where nothing is predicted, and so there is nothing to stretch."""
    return known / unseen if unseen > 1e-9 * known else torch.ones_like(known)


def taste(people: People) -> Tensor:
    """How alike the audiences of two items are, [n, n]; who chose much says less about each."""
    gram = people.together(share=1.0)
    audience = gram.diagonal() ** AUDIENCE_POWER
    return gram / audience / audience.unsqueeze(1)


def take_apart(matrix: Tensor, rank: int) -> Svd:
    """The main directions of a matrix [n, n], dense or sparse: left [n, k], values [k] and right [n, k]."""
    width = min(len(matrix), rank + OVERSAMPLING)
    left, values, right = torch.svd_lowrank(matrix, q=width, niter=ITERATIONS)
    return left.double(), values.double(), right.double()


def factorise(svd: Svd, rank: int) -> tuple[Tensor, Tensor, float]:
    """`source` and `target`, [n, rank] each, of spread 1, whose products are nearest to a similarity's.

    And by how much those are smaller than it. All are 0 where it tells no item from another.
    """
    left, values, right = svd
    rounding = torch.finfo(values.dtype).eps * len(left) * values[0]
    root = torch.where(values > rounding, values, 0)[:rank].sqrt()
    source, target = left[:, :rank] * root, right[:, :rank] * root
    missing = (0, max(0, rank - len(root)))
    (source, one), (target, other) = _even(source), _even(target)
    return F.pad(source, missing), F.pad(target, missing), one * other


def _even(factor: Tensor) -> tuple[Tensor, float]:
    """A factor of spread 1, which steps of training change slowly, and the spread it had.

    Both are 0 where all of it is the same, and so tells no item from another.
    """
    spread = float(factor.std()) if factor.numel() > 1 else 0.0
    if spread > ROUNDING * float(factor.abs().mean()):
        return factor / spread, spread
    return torch.zeros_like(factor), 0.0


def _part(svd: Svd, rank: int, told: Tensor) -> tuple[Tensor, Tensor, float, float]:
    """One part of the places: source, target, how far apart histories of what was told put items, and unit.

    All are 0 where histories put items no further apart than rounding does.
    """
    source, target, unit = factorise(svd, rank)
    logits = (told @ source) @ target.T
    spread = float(logits.std(1).mean()) if logits.shape[1] > 1 else 0.0
    if spread > ROUNDING * float(logits.abs().mean()):
        return source, target, spread, unit
    return torch.zeros_like(source), torch.zeros_like(target), 0.0, 0.0


def word_features(words: WordBag, tokens: Tensor) -> sparse.csr_array:
    """TF-IDF, float32 [n, V + 1], of the words of items, int [n, T]."""
    data, columns, sizes = [], [], [np.zeros(1, dtype=np.int64)]
    for block in tokens.split(BLOCK):
        shown = block != UNKNOWN
        data.append(words.tf_idf(block)[shown].cpu().numpy())
        columns.append(block[shown].cpu().numpy())
        sizes.append(shown.sum(1).cpu().numpy())
    flat = np.concatenate(data), np.concatenate(columns), np.concatenate(sizes).cumsum()
    features = sparse.csr_array(flat, shape=(len(tokens), len(words.rarity)))
    features.sum_duplicates()
    return features
