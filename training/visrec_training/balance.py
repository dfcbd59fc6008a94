"""How much each part of a query counts, by how much a request tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_LOG_SCALE = math.log(100)
CONTENT, REGRESSION, SPECTRAL, POPULARITY, NEIGHBOURS, LONG = range(6)
"""Rows of the bias: logarithms, the neighbours' next to regression's; the last is the log odds that a history
is long, and regression says more of it than the main directions of taste do."""
HAS_PICTURE, TOLD, HAS_WORDS, TOLD_BESIDE, HISTORY_ALONE = range(5)
"""What the balance depends on: whether there is a picture, how much a request tells, whether there are words,
how much history there is beside a picture, and whether there is nothing but a history."""
FITTED = (REGRESSION, LONG, SPECTRAL, POPULARITY, NEIGHBOURS)
"""What is fitted in closed form, in the order in which it is weighed."""
CONTENT_SCALE = 0.1  # 1 / τ in the content space, before it has learned anything
LOGIT_SPREAD = 0.5  # how far a history moves logits in the collaborative space, before training
STEPS, LEFT_OUT = (0.0, 1.0, 2.0, 4.0, -1.0, -2.0), -6.0  # logarithms
LOOKS = tuple(step - LEFT_OUT for step in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0))
"""Logarithms of the factor by which a picture raises content; the first undoes `LEFT_OUT`."""
LOOKS_BESIDE = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, -0.5, -1.0, -2.0)
"""Powers: beside a history of n items, a picture raises content by (1 + n) to this as well."""
COMMON_STEPS = (0.0, -0.5, -1.0, -1.5, -2.0, -2.5, -3.0, -4.0, -6.0, -8.0, 0.5, 1.0)
EVEN_HISTORIES = (10.0, 3.0, 1.0, 0.3, 30.0)
"""Sizes, in items, at which regression and main directions count alike; the first before any is chosen."""
Option = TypeVar("Option")


class Weights(NamedTuple):
    """What the parts of B queries are multiplied by, float [B, 1] each."""

    content: Tensor
    regression: Tensor
    spectral: Tensor
    popularity: Tensor
    neighbours: Tensor


class Balance(nn.Module):
    """What a request tells → `Weights`."""

    def __init__(self) -> None:
        """Build it."""
        super().__init__()
        weight, bias = torch.zeros(6, 5), torch.zeros(6)
        bias[CONTENT] = math.log(CONTENT_SCALE)
        # who tells more of themselves is led less by what all choose, and less by the main directions
        weight[POPULARITY, TOLD] = -2
        weight[LONG, TOLD] = 4
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self._set(LONG, self._long(EVEN_HISTORIES[0]))

    def forward(self, told: Tensor) -> Weights:
        """Weigh.

        Args:
            told: float [B, 5]: 1 with a picture; log(1 + items, picture and text); 1 with words;
                log(1 + items) with a picture, else 0; and 1 with a history alone.
        """
        content, regression, spectral, popularity, neighbours, long = F.linear(
            told, self.weight, self.bias
        ).split(1, dim=-1)
        regression = regression + F.logsigmoid(long)
        spectral = spectral + F.logsigmoid(-long)
        parts = (content, regression, spectral, popularity, regression + neighbours)
        return Weights(*(part.clamp(max=MAX_LOG_SCALE).exp() for part in parts))

    @property
    def table_share(self) -> float:
        """How much the table of neighbours counts, next to regression."""
        return math.exp(self.bias[NEIGHBOURS].item())

    @torch.no_grad()
    def expect(self, regression: float, spectral: float) -> None:
        """Start from how far a history moves logits in two parts; one of spread 0 tells nothing."""
        for part, spread in ((REGRESSION, regression), (SPECTRAL, spectral)):
            scale = math.log(LOGIT_SPREAD / spread) if spread else 0.0
            self.bias[part] = min(scale, MAX_LOG_SCALE)  # beyond it, training couldn't change it

    @torch.no_grad()
    def leave_content_out(self) -> None:
        """Leave content out without a picture: before training, the content of a history is random."""
        self.bias[CONTENT] += LEFT_OUT

    def weigh(self, parts: Sequence[int], score: Callable[[], float]) -> None:
        """Choose how much each of some parts counts, one after another.

        Args:
            parts: of `FITTED`.
            score: how well the model ranks as it is now.
        """
        for part in parts:
            choose(self._options(part), partial(self._set, part), score)

    def weigh_looks(self, alone: Callable[[], float], beside: Callable[[], float]) -> None:
        """Choose how much likeness in the content space counts where a picture is sent.

        Expects that `leave_content_out` was called.

        Args:
            alone: how well pictures are answered as it is now, sent alone.
            beside: how well, sent with a history.
        """
        for place, options, score in ((HAS_PICTURE, LOOKS, alone), (TOLD_BESIDE, LOOKS_BESIDE, beside)):
            choose(options, partial(self._raise_content, place), score)

    def weigh_content(self, score: Callable[[], float]) -> None:
        """Choose how much content counts where nothing but a history is sent.

        Args:
            score: how well histories are answered as it is now.
        """
        start = self.weight[CONTENT, HISTORY_ALONE].item()
        options = [start + step for step in (*STEPS, LEFT_OUT)]
        choose(options, partial(self._raise_content, HISTORY_ALONE), score)

    @torch.no_grad()
    def temper(self, excess: Callable[[], float]) -> None:
        """Scale all parts together, which leaves rankings without a text as they are.

        Args:
            excess: how much surer the softmax is now than it is right.
        """
        balanced = self.bias[:NEIGHBOURS].clone()

        def scale(step: float) -> None:
            self.bias[:NEIGHBOURS] = balanced + step

        choose(COMMON_STEPS, scale, lambda: -abs(excess()))

    def _options(self, part: int) -> list[float]:
        if part == LONG:
            return [self._long(size) for size in EVEN_HISTORIES]
        start = self.bias[part].item()
        # popularity is all that a new visitor is led by
        steps = STEPS if part == POPULARITY else (*STEPS, LEFT_OUT)
        least = LEFT_OUT if part == NEIGHBOURS else -math.inf  # what is said for new items is divided by it
        return [max(least, min(start + step, MAX_LOG_SCALE)) for step in steps]

    def _long(self, even_history: float) -> float:
        return -self.weight[LONG, TOLD].item() * math.log1p(even_history)

    @torch.no_grad()
    def _raise_content(self, place: int, value: float) -> None:
        self.weight[CONTENT, place] = value

    @torch.no_grad()
    def _set(self, part: int, value: float) -> None:
        self.bias[part] = value


def choose(options: Iterable[Option], take: Callable[[Option], None], score: Callable[[], float]) -> Option:
    """Take each option in turn, then again the one that scored best; of equals, the first."""
    scores = []
    tried = list(options)
    for option in tried:
        take(option)
        scores.append(score())
    best = tried[scores.index(max(scores))]
    take(best)
    return best
