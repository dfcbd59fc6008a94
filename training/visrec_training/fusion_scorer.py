"""The fusion scorer: query vectors against a whole catalogue, and the best K of the softmax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visrec_training.balance import Weights
from visrec_training.item_tower import Items
from visrec_training.query_tower import QueryTower, Said
from visrec_training.text_space import TextSpace


class Parts(NamedTuple):
    """What logits [B, N] are the weighed sum of; texts come on top."""

    content: Tensor
    """float [B, N]."""
    regression: Tensor
    """float [B, N]."""
    spectral: Tensor
    """float [B, N]."""
    popularity: Tensor
    """float [1, N]."""
    neighbours: Tensor
    """float [B, N]."""

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Those of one batch of requests after another, next to the same catalogue."""
        joined = cls(*map(torch.cat, zip(*parts, strict=True)))
        return joined._replace(popularity=parts[0].popularity)

    def weighed(self, weights: Weights) -> Tensor:
        """Logits [B, N]."""
        logits = self.content * weights.content
        for part, weight in zip(self[1:], weights[1:], strict=True):
            logits.addcmul_(part, weight)
        return logits


class FusionScorer(nn.Module):
    """The query tower beside one catalogue's items: what is exported and served.

    Ids and words are rows here; the export puts the dictionaries around it.
    """

    item_vectors: Tensor
    item_texts: Tensor
    sources: Tensor
    neighbours: Tensor
    votes: Tensor

    def __init__(self, tower: QueryTower, space: TextSpace, items: Items, k: int) -> None:
        """Build it.

        Args:
            tower: makes queries.
            space: makes their part that is compared with the texts of items.
            items: the catalogue.
            k: items in an answer; a smaller catalogue is filled up with row N, that scores 0.
        """
        super().__init__()
        self.tower, self.space, self.k = tower, space, k
        self.items = len(items.vectors)
        self.register_buffer("item_vectors", items.vectors)
        self.register_buffer("item_texts", items.texts)
        self.register_buffer("sources", items.sources)
        self.register_buffer("neighbours", items.neighbours)
        self.register_buffer("votes", items.votes)

    def logits(
        self,
        aspects: Tensor,
        maps: Tensor,
        history: Tensor,
        tokens: Tensor,
        hashes: Tensor,
        sentence: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Score every item: logits [B, N] and attention [B, 7, 7]. Arguments as for `forward`."""
        said, attention = self.read(aspects, maps, history, tokens, hashes)
        return self.compare(said, history, tokens, hashes, sentence), attention

    def read(
        self, aspects: Tensor, maps: Tensor, history: Tensor, tokens: Tensor, hashes: Tensor
    ) -> tuple[Said, Tensor]:
        """What requests say, and where they looked, float [B, 7, 7]. Arguments as for `forward`."""
        looked_up = self.tower.history.look_up(self.item_vectors, self.sources, history)
        said, attention = self.tower.read(aspects, maps, looked_up, self.space.known_words(hashes, tokens))
        return said, attention

    def compare(
        self, said: Said, history: Tensor, tokens: Tensor, hashes: Tensor, sentence: Tensor
    ) -> Tensor:
        """Logits [B, N] of what was read. Other arguments as for `forward`."""
        query, counted = self.tower.weigh(said)
        logits = add_votes(query @ self.item_vectors.T, self.neighbours, self.votes, history, counted)
        return add_matches(logits, self._match, sentence, hashes, tokens)

    def apart(self, said: Said, history: Tensor, is_new: Tensor) -> Parts:
        """What `compare` adds up where nobody typed anything, before it is weighed.

        What the table says for new items, bool [N], stands with regression: how much it counts does not
        depend on how much the table counts for known ones (`closed_form.Tables`).
        """
        config = self.tower.config
        widths = [config.dim, config.regression_dim, config.spectral_dim, 1]
        content, regression, spectral, popularity = self.item_vectors.T.split(widths)
        nothing = content.new_zeros(len(history), self.items)
        votes = add_votes(nothing, self.neighbours, self.votes, history, said.counted)
        for_new = votes * is_new
        return Parts(
            said.content @ content,
            (said.regression @ regression).add_(for_new, alpha=self.tower.balance.table_share),
            said.spectral @ spectral,
            popularity,
            votes - for_new,
        )

    def _match(self, *text: Tensor) -> Tensor:
        return self.space(*text) @ self.item_texts.T

    def forward(
        self,
        aspects: Tensor,
        maps: Tensor,
        history: Tensor,
        tokens: Tensor,
        hashes: Tensor,
        sentence: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Answer requests.

        Args:
            aspects: float [B, M, d]; all 0 without a picture.
            maps: float [B, M, 49]; all 0 without a picture.
            history: int64 [B, L], rows of items; -1 pads, and stands for unknown items.
            tokens: int64 [B, T], rows of words; 0 pads, and stands for unknown words.
            hashes: int64 [B, T], the words themselves.
            sentence: float [B, W], the text as the sentence encoder has it; all 0 without a text.

        Returns:
            rows int64 [B, K] and probabilities float [B, K], best first; attention float [B, 7, 7].
        """
        logits, attention = self.logits(aspects, maps, history, tokens, hashes, sentence)
        rows = logits.topk(min(self.k, self.items), dim=-1).indices  # probabilities may round to equal ones
        scores = logits.softmax(dim=-1).gather(1, rows)
        missing = (0, self.k - scores.shape[1])
        return F.pad(rows, missing, value=self.items), F.pad(scores, missing), attention


def add_votes(logits: Tensor, neighbours: Tensor, votes: Tensor, history: Tensor, said: Tensor) -> Tensor:
    """Add to logits what the items of histories say for their neighbours; the work does not grow with N.

    Args:
        logits: float [B, N].
        neighbours: int32 [N, m], rows.
        votes: float [N, m].
        history: int64 [B, L], rows; -1 pads.
        said: float [B, L], how much each has to say; 0 beside -1.
    """
    if not votes.shape[1]:  # no behaviour, no table: ONNX would refuse to scatter nothing
        return logits
    chosen = history.clamp_min(0)
    votes = votes[chosen].to(logits.dtype) * said.unsqueeze(-1)
    return logits.scatter_add(1, neighbours[chosen].flatten(1).long(), votes.flatten(1))


def add_matches(logits: Tensor, match: Callable[..., Tensor], sentence: Tensor, *others: Tensor) -> Tensor:
    """Add to logits what texts say; where no request has a text, nothing is computed.

    Args:
        logits: float [B, n].
        match: (sentence, *others) → float [B, n].
        sentence: float [B, W], the texts as the sentence encoder has them.
        others: hashes int64 [B, T], and what else `match` takes.
    """

    def add(logits: Tensor, *operands: Tensor) -> Tensor:
        return logits + match(*operands)

    def leave(logits: Tensor, *_: Tensor) -> Tensor:
        return logits.clone()

    typed = others[0].ne(0).any() | sentence.ne(0).any()
    if torch.compiler.is_exporting():  # ONNX If
        added: Tensor = torch.cond(typed, add, leave, (logits, sentence, *others))
        return added
    return add(logits, sentence, *others) if typed else logits
