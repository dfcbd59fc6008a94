"""Attention over the regions of a picture: M learned looks, the same for every user.

Each aspect has a query of its own and attends to the regions, as in attention pooling (Lee et al., Set
Transformer, ICML 2019). Which aspects matter to whom is decided later, by the query tower.

A region that looks like most others of the catalogue, as a white ground does, tells little. Its prior weight
is therefore its self-information (Bruce & Tsotsos, Saliency Based on Information Maximization, NIPS 2005),
which is the squared length of a whitened region if regions are taken to be Gaussian. Without it much of the
attention comes to lie on the ground, which costs no ranking but explains nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from visrec_training.config import ModelConfig

PRIOR_POWER = 3.0  # a region's prior weight is its self-information to this power


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
        self.key = nn.Linear(width, config.aspects)
        self.value = nn.Parameter(torch.randn(config.aspects, width, config.aspect_dim) / width**0.5)
        self.norm = nn.LayerNorm(config.aspect_dim)

    @torch.no_grad()
    def fit(self, regions: Tensor) -> None:
        """Fit the reduction: centre, rotate and scale regions to their principal components (PCA whitening).

        Args:
            regions: float [n, D], a sample of the catalogue's.
        """
        regions = regions.double()
        mean, std = regions.mean(0), regions.std(0).clamp_min(1e-4)
        standard = (regions - mean) / std
        variance, directions = torch.linalg.eigh(standard.T @ standard / len(standard))
        width = self.reduce.out_features
        kept = directions[:, -width:] * variance[-width:].clamp_min(1e-3).rsqrt()
        # an eigenvector's sign is arbitrary: fix it, so that every machine fits the same reduction
        kept = kept * kept.gather(0, kept.abs().argmax(0, keepdim=True)).sign()
        weight = (kept / std[:, None]).T
        self.reduce.weight.zero_()
        self.reduce.weight[: len(weight)] = weight.float()
        self.reduce.bias.zero_()
        self.reduce.bias[: len(weight)] = -(weight @ mean).float()

    def attend(self, reduced: Tensor) -> tuple[Tensor, Tensor]:
        """Attend to reduced regions [B, 49, region_dim]: the part that is trained."""
        hidden = self.hidden(reduced)
        prior = PRIOR_POWER * reduced.square().mean(dim=-1).clamp_min(1e-6).log()
        maps = (self.key(hidden).transpose(1, 2) + prior.unsqueeze(1)).softmax(dim=-1)
        # values are linear, so pooling first gives the same and costs a 49th
        aspects = torch.einsum("bmr,mrd->bmd", maps @ hidden, self.value)
        return self.norm(aspects), maps

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Look at pictures."""
        aspects, maps = self.attend(self.reduce(regions))
        return aspects, maps
