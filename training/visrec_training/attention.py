"""Attention over the regions of a picture: M looks, the same for every user.

The first aspect is the gist: all regions alike, along the directions in which whole pictures differ most. It
is fitted and not trained, so that what rests on it holds while the others learn. Each of those has a query of
its own and attends to the regions, as in attention pooling (Lee et al., Set Transformer, ICML 2019). Which of
them matter to whom is decided later, by the query tower.

A region that looks like most others of the catalogue, as a white ground does, tells little. Its prior weight
is therefore its self-information (Bruce & Tsotsos, Saliency Based on Information Maximization, NIPS 2005),
which is the squared length of a whitened region if regions are taken to be Gaussian. Without it much of the
attention comes to lie on the ground, which costs no ranking but explains nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visrec_training.config import ModelConfig

GIST = 0  # row of ASPECTS and MAPS
PRIOR_POWER = 3.0  # a region's prior weight is its self-information to this power
ROUNDING = 1e-3
"""Regions are kept as 16-bit floats, so what differs by less than this share of its size may not differ."""
LEAST_GIST = 0.1
"""Length below which a gist, some 10 long, is not stretched to that of the others: the picture is an average
one, and only rounding would have a direction."""


class Attention(nn.Module):
    """REGIONS [B, 49, D] → ASPECTS [B, M, d] and MAPS [B, M, 49]; each map sums to 1."""

    def __init__(self, config: ModelConfig, dim: int) -> None:
        """Build it.

        Args:
            config: the model's shape.
            dim: D, the encoder's width.
        """
        super().__init__()
        width = config.region_dim
        self.reduce = nn.Linear(dim, width).requires_grad_(False)  # fitted, not trained: see fit()
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.GELU())
        self.gist = nn.Linear(width, config.aspect_dim).requires_grad_(False)
        learned = config.aspects - 1
        self.key = nn.Linear(width, learned)
        self.value = nn.Parameter(torch.randn(learned, width, config.aspect_dim) / width**0.5)
        self.norm = nn.LayerNorm(config.aspect_dim)

    @torch.no_grad()
    def fit(self, regions: Tensor) -> None:
        """Fit what is not trained: the reduction and the gist.

        The reduction centres, rotates and scales regions to their principal components (PCA whitening); the
        gist takes the principal components of their mean, not scaled. Directions along which the sample
        doesn't vary are left out: a few pictures, or pictures all alike, leave fewer than there is room for.

        Args:
            regions: float [n, 49, D], of a sample of the catalogue's pictures.
        """
        regions = regions.double()
        mean, std = regions.mean((0, 1)), regions.std((0, 1))
        std = std.clamp_min(1e-4).maximum(ROUNDING * regions.abs().amax((0, 1)))
        standard = (regions - mean) / std
        kept, variance = _principal(standard.flatten(0, 1), self.reduce.out_features)
        whitening = (kept * variance.rsqrt() / std[:, None]).T
        _set(self.reduce, whitening, -whitening @ mean)
        gists = standard.mean(1) @ kept
        directions, _ = _principal(gists - gists.mean(0), self.gist.out_features)
        _set(self.gist, (variance.sqrt()[:, None] * directions).T, -directions.T @ gists.mean(0))

    def attend(self, reduced: Tensor) -> tuple[Tensor, Tensor]:
        """Attend to reduced regions [B, 49, region_dim]: the part that is trained."""
        hidden = self.hidden(reduced)
        prior = PRIOR_POWER * reduced.square().mean(dim=-1).clamp_min(1e-6).log()
        maps = (self.key(hidden).transpose(1, 2) + prior.unsqueeze(1)).softmax(dim=-1)
        # values are linear, so pooling first gives the same and costs a 49th
        aspects = torch.einsum("bmr,mrd->bmd", maps @ hidden, self.value)
        whole = self.gist(reduced.mean(1, keepdim=True))
        gist = F.normalize(whole, dim=-1, eps=LEAST_GIST) * whole.shape[-1] ** 0.5  # as long as the others
        everywhere = torch.full_like(maps[:, :1], 1 / maps.shape[-1])
        return torch.cat([gist, self.norm(aspects)], dim=1), torch.cat([everywhere, maps], dim=1)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Look at pictures."""
        aspects, maps = self.attend(self.reduce(regions))
        return aspects, maps


def _principal(centred: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The principal directions of rows [n, D] in units of the features' deviation.

    Returns:
        Directions [D, k] and the variance along each, [k]: at most `width`, and only those along which rows
        differ by more than rounding.
    """
    covariance = centred.T @ centred / len(centred)
    if not (covariance.diagonal() > ROUNDING**2).any():  # solvers may fail on nothing but rounding
        return centred.new_zeros(centred.shape[1], 0), centred.new_zeros(0)
    variance, directions = torch.linalg.eigh(covariance)
    varied = variance[-width:] > ROUNDING**2
    kept, variance = directions[:, -width:][:, varied], variance[-width:][varied]
    # an eigenvector's sign is arbitrary: fix it, so that every machine fits the same
    kept = kept * kept.gather(0, kept.abs().argmax(0, keepdim=True)).sign()
    return kept, variance.clamp_min(1e-3)


def _set(layer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    """Give a layer a weight of no more rows than it has; the others give 0."""
    layer.weight.zero_()
    layer.bias.zero_()
    layer.weight[: len(weight), : weight.shape[1]] = weight.float()
    layer.bias[: len(bias)] = bias.float()
