"""The fusion scorer of a large catalogue: a coarse pass over all items, a fine one over the best.

One query reads every vector of the catalogue, so its time is the memory's, and so is most of what a server
holds. Here the pass over all items reads half a byte a number (4-bit integers, a scale a block), and the best
few hundred are scored again from 16-bit floats, which histories are read from as well. Four bits move a logit
by a tenth of the logits' spread: far less than what lies between the best ten and the four hundredth.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visrec_training.fusion_scorer import FusionScorer, add_matches, add_votes

COMPACT_FROM = 50_000
"""Items from which a catalogue is stored so: below, a pass over 32-bit floats costs a few milliseconds."""
CANDIDATES = 4
"""Times the length of an answer that is scored again."""
BITS = 4
BLOCK = 32
"""Numbers that share a scale."""
_INT8_QUERIES = 4  # accuracy_level of MatMulNBits: multiply integers, not integers brought back to floats


class CompactScorer(nn.Module):
    """Answers as a `FusionScorer` does, from a sixth of the bytes a query and two thirds of the memory."""

    codes: Tensor
    scales: Tensor
    vectors: Tensor
    text_codes: Tensor
    text_scales: Tensor
    texts: Tensor
    sources: Tensor
    neighbours: Tensor
    votes: Tensor

    def __init__(self, scorer: FusionScorer) -> None:
        """Store a scorer's catalogue compactly.

        Args:
            scorer: of at least `CANDIDATES * scorer.k` items.
        """
        super().__init__()
        self.tower, self.space, self.k = scorer.tower, scorer.space, scorer.k
        self.codes, self.scales = map(nn.Buffer, _quantise(scorer.item_vectors))
        self.vectors = nn.Buffer(scorer.item_vectors.half())
        self.text_codes, self.text_scales = map(nn.Buffer, _quantise(scorer.item_texts))
        self.texts = nn.Buffer(scorer.item_texts.half())
        self.sources = nn.Buffer(scorer.sources.half())
        # votes for new items may be larger than the largest 16-bit float
        self.loudest = float(scorer.votes.abs().amax().clamp_min(1)) if scorer.votes.numel() else 1.0
        self.neighbours = nn.Buffer(scorer.neighbours)
        self.votes = nn.Buffer((scorer.votes / self.loudest).half())

    def forward(
        self,
        aspects: Tensor,
        maps: Tensor,
        history: Tensor,
        tokens: Tensor,
        hashes: Tensor,
        sentence: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Answer requests; arguments and results as of `FusionScorer.forward`."""
        read = self.tower.history.look_up(self.vectors, self.sources, history)
        query, attention, said = self.tower(aspects, maps, read, self.space.known_words(hashes, tokens))
        product = _coarse_product(query, self.codes, self.scales)
        voted = add_votes(product, self.neighbours, self.votes, history, said * self.loudest)
        coarse = add_matches(voted, self._coarse_match, sentence, hashes, tokens)
        best, rows = coarse.topk(CANDIDATES * self.k, dim=-1)
        fine = _fine_product(query, self.vectors, rows) + (voted - product).gather(1, rows)
        fine = add_matches(fine, self._fine_match, sentence, hashes, tokens, rows)
        # a softmax over all, with the best as they are and the others as the coarse pass has them, whose
        # errors cancel out over so many
        highest = best[:, :1]
        weights = (fine - highest).exp()
        rest = (coarse - highest).exp().sum(dim=-1, keepdim=True) - (best - highest).exp().sum(
            -1, keepdim=True
        )
        total = rest.clamp_min(0) + weights.sum(dim=-1, keepdim=True)
        order = fine.topk(self.k, dim=-1).indices
        return rows.gather(1, order), (weights / total).gather(1, order), attention

    def _coarse_match(self, *text: Tensor) -> Tensor:
        return _coarse_product(self.space(*text), self.text_codes, self.text_scales)

    def _fine_match(self, sentence: Tensor, hashes: Tensor, tokens: Tensor, rows: Tensor) -> Tensor:
        return _fine_product(self.space(sentence, hashes, tokens), self.texts, rows)


# inside `torch.cond`, the exporter may not look into `symbolic`
@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def _coarse_product(queries: Tensor, codes: Tensor, scales: Tensor) -> Tensor:
    """Queries [B, W] with every item as `_quantise` stores it, [B, N]."""
    items, width = len(codes), queries.shape[1]
    logits: Tensor = torch.onnx.ops.symbolic(
        "com.microsoft::MatMulNBits",
        (queries, codes, scales),
        {"K": width, "N": items, "bits": BITS, "block_size": BLOCK, "accuracy_level": _INT8_QUERIES},
        dtype=torch.float32,
        shape=(queries.shape[0], items),
        version=1,
    )
    return logits


def _fine_product(queries: Tensor, vectors: Tensor, rows: Tensor) -> Tensor:
    """Queries [B, W] with some items each, rows [B, n] of vectors [N, W]: [B, n]."""
    return (vectors[rows].float() @ queries.unsqueeze(-1)).squeeze(-1)


def _quantise(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors float [N, W] as `MatMulNBits` reads them.

    Returns:
        Codes uint8 [N, blocks, BLOCK / 2], two in a byte, the first in its lower half, 8 for zero; and scales
        float [N, blocks].
    """
    largest = 2 ** (BITS - 1) - 1
    blocks = F.pad(vectors, (0, -vectors.shape[1] % BLOCK)).unflatten(1, (-1, BLOCK))
    scales = blocks.abs().amax(dim=-1).clamp_min(torch.finfo(torch.float32).tiny) / largest
    codes = (blocks / scales.unsqueeze(-1)).round().add(largest + 1).to(torch.uint8)
    return codes[..., ::2] | codes[..., 1::2] << BITS, scales
