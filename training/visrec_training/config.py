"""Configuration of the model and of its training: frozen, and checked where it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from visrec_client.errors import VisrecError

GRID = 7  # a picture is seen as GRID x GRID regions
REGIONS = GRID * GRID
LEVELS = (4, 8, 16, 32)
MOST = 4096  # of any size of the model; far more would not fit any memory


class ConfigError(VisrecError, ValueError):
    """A configuration value is outside what is allowed."""


def _check(owner: ModelConfig | TrainConfig, field: str, allowed: bool, expected: str) -> None:
    if not allowed:
        raise ConfigError(f"{owner.table}.{field} is {getattr(owner, field)!r}; allowed: {expected}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The shape of the model: what an export needs to rebuild it."""

    table: ClassVar[str] = "model"
    """The name of its table in a file of settings."""
    backbone: str = "tf_efficientnet_lite0"
    """A timm model name."""
    levels: tuple[int, ...] = LEVELS
    """Strides, in pixels, of the feature maps that make a region: low ones see texture, high ones objects.
    Of the default, those that the backbone has are used; of any other choice it must have all."""
    picture_size: int = 224
    """Height and width of IMAGE, in pixels."""
    region_dim: int = 128
    """Width that regions are reduced to (PCA, fitted on the catalogue) before anything is learned."""
    aspects: int = 8
    """M: looks at a picture; the first takes in all of it, the others are learned."""
    aspect_dim: int = 64
    """d: width of one aspect."""
    dim: int = 128
    """Width of the content space, in which queries and items lie by looks and words."""
    regression_dim: int = 48
    """Width of the collaborative space's first part: item-to-item regression, best for long histories."""
    spectral_dim: int = 16
    """Width of its second part: the main directions of taste, best for short histories."""
    history: int = 0
    """L: the most recent items of a history that are read; 0 takes what most histories of the data need."""
    words: int = 64
    """T: the most tokens of a request's text that are read."""
    item_words: int = 256
    """The most tokens of an item's texts that it can be found by."""
    text_encoder: str = "use-multilingual"
    """The sentence encoder, which finds items by the meaning of a text, or the folder of one; "none" matches
    words alone."""
    sentence_dim: int = 192
    """Width of the first part of the text space, in which items and searches lie by their meaning."""
    lexical_dim: int = 128
    """Width of its second part, in which they lie by their words."""
    top_k: int = 100
    """K: items in an answer."""
    history_heads: int = 8
    """Learned looks at a history."""
    user_attention: bool = True
    """Whether history and words decide which aspects of a picture matter; else all count alike."""
    dropout: float = 0.1
    """Share of hidden units dropped in training."""

    def __post_init__(self) -> None:
        """Check each field.

        Raises:
            ConfigError: names the field, its value and what is allowed.
        """
        for field in (
            "picture_size",
            "region_dim",
            "aspect_dim",
            "dim",
            "regression_dim",
            "spectral_dim",
            "words",
            "item_words",
            "sentence_dim",
            "lexical_dim",
        ):
            _check(self, field, 1 <= getattr(self, field) <= MOST, f"a whole number from 1 to {MOST}")
        _check(self, "history", 0 <= self.history <= MOST, f"a whole number from 0 to {MOST}")
        _check(self, "aspects", 2 <= self.aspects <= MOST, f"a whole number from 2 to {MOST}")
        _check(self, "top_k", self.top_k >= 1, "a whole number of at least 1")
        _check(self, "levels", bool(self.levels) and min(self.levels) >= 1, "one or more strides in pixels")
        _check(
            self,
            "history_heads",
            self.history_heads >= 1 and self.dim % self.history_heads == 0,
            f"a divisor of dim ({self.dim})",
        )
        _check(self, "dropout", 0 <= self.dropout < 1, "at least 0 and below 1")

    @property
    def collaborative_dim(self) -> int:
        """Width of the collaborative space, in which items lie by who chose them together."""
        return self.regression_dim + self.spectral_dim

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Rebuild a configuration from `dataclasses.asdict`, as a checkpoint stores it."""
        return cls(**{**values, "levels": tuple(values["levels"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How the model is trained. The same configuration, data and machine give the same checkpoint."""

    table: ClassVar[str] = "train"
    """The name of its table in a file of settings."""
    seed: int = 0
    """Decides everything that is random."""
    epochs: int = 10
    """Passes over the training examples, or as many of them as an epoch has, unless early stopping ends
    training before; 0 leaves the closed form as it is."""
    batch: int = 256
    """Examples in a step."""
    learning_rate: float = 2e-3
    """The highest learning rate, reached after warm-up."""
    weight_decay: float = 0.02
    """AdamW's: how strongly weights are pulled to 0."""
    warmup: float = 0.05
    """Share of all steps in which the learning rate rises from 0; a cosine takes it back to 0."""
    patience: int = 3
    """Epochs without a better validation NDCG@10 after which training stops."""
    id_dropout: float = 0.2
    """Share of items, drawn anew in each step, whose id part is withheld, so that content must suffice."""
    keep_picture: float = 0.7
    """Chance that an example keeps its picture. Each combination of what is kept is trained."""
    keep_history: float = 0.75
    """Chance that an example keeps its history."""
    keep_words: float = 0.25
    """Chance that an example keeps its words."""
    predict: Literal["auto", "next", "any"] = "auto"
    """What an example asks for: the item that came next, or any others that the person liked; "auto" is
    "next" where an order is known."""
    content_ridge: float = 3.0
    """How strongly the closed-form prediction from content is held small."""
    picture_share: float = 0.4
    """How much a picture tells that prediction, next to 1 for words."""
    new_item_spread: float = 0.25
    """How far the places predicted for new items are stretched: 0 not at all, which ranks nearly all of them
    behind known items; 1 as far apart as known items lie, which costs those some."""
    dense_items: int = 6_000
    """Up to so many items that people met, how much each says for each other is a matrix of all by all;
    beyond, each is predicted from a few others, and what new items are compared with are the most met ones.
    In a catalogue of more items, a step of training compares some of them alone."""
    cold_share: float = 0.1
    """Share of items held out of training with all their interactions, to measure cold start."""
    attended: int = 256
    """Pictures looked at anew in a step; the other items keep the aspects that were seen in them last."""
    finetune_blocks: int = 0
    """Last blocks of the backbone that are trained too; 0 leaves it frozen."""
    finetune_pictures: int = 48
    """Pictures encoded afresh in a step when the backbone is trained; others keep last epoch's regions."""

    def __post_init__(self) -> None:
        """Check each field.

        Raises:
            ConfigError: names the field, its value and what is allowed.
        """
        _check(self, "seed", 0 <= self.seed < 2**32, f"a whole number from 0 to {2**32 - 1}")
        for field in ("batch", "patience", "attended", "finetune_pictures", "dense_items"):
            _check(self, field, getattr(self, field) >= 1, "a whole number of at least 1")
        for field in ("epochs", "finetune_blocks"):
            _check(self, field, getattr(self, field) >= 0, "a whole number of at least 0")
        for field in ("learning_rate", "keep_picture", "keep_history", "keep_words"):
            _check(self, field, 0 < getattr(self, field) <= 1, "above 0 and at most 1")
        for field in ("weight_decay", "warmup"):
            _check(self, field, 0 <= getattr(self, field) < 1, "at least 0 and below 1")
        _check(self, "id_dropout", 0 <= self.id_dropout <= 1, "from 0 to 1")
        _check(self, "predict", self.predict in ("auto", "next", "any"), "'auto', 'next' or 'any'")
        # less, and rounding leaves nothing to solve by
        allowed = 1e-3 <= self.content_ridge < math.inf
        _check(self, "content_ridge", allowed, "a finite number of at least 0.001")
        _check(self, "picture_share", 0 <= self.picture_share <= 100, "from 0 to 100")
        _check(self, "new_item_spread", 0 <= self.new_item_spread <= 1, "from 0 to 1")
        _check(self, "cold_share", 0 <= self.cold_share <= 0.5, "from 0 to 0.5")
