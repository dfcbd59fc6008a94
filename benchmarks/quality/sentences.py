"""A centroid of what items' texts mean, for the project's sentence encoder as it comes."""

from __future__ import annotations

import torch

from visrec_training.centroids import Centroid
from visrec_training.config import ModelConfig
from visrec_training.item_texts import ItemSentences
from visrec_training.prepare import Prepared

ENCODER = ModelConfig().text_encoder
"""visrec's default."""


def centroid_of_sentences(prepared: Prepared) -> Centroid:
    """Cosine with the centre of what a person liked, each item's whole text read as one sentence."""
    catalogue = prepared.dataset.catalogue
    sentences = ItemSentences(catalogue, ENCODER, torch.device("cpu"))[torch.arange(len(catalogue))].numpy()
    return Centroid((sentences @ sentences.T,), (1.0,))
