"""A release in INT8: its encoder is quantized, and refused where measurement shows that it costs too much."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from visrec_export.answers import TOP, Answers, compare_ndcg, overlap, read_questions
from visrec_export.errors import ExportRefused
from visrec_export.quantize import quantize_encoder
from visrec_training.checkpoint import Checkpoint
from visrec_training.config import ConfigError
from visrec_training.data import Dataset
from visrec_training.regions import load_pictures
from visrec_training.rows import Rows

CALIBRATION = 128  # pictures that show what values activations take
MEASURED = 2000  # at most so many others show what INT8 costs


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How far an INT8 release may be from FP32."""

    max_ndcg_drop: float = 0.01
    """Share of NDCG@10 that may be lost."""
    min_overlap: float = 0.9
    """Share of a top 10 that must stay, on average, where nothing but a picture is sent."""

    def __post_init__(self) -> None:
        """Check each field.

        Raises:
            ConfigError: names the field, its value and what is allowed.
        """
        for field, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise ConfigError(f"{field} is {value}; allowed: from 0 to 1")

    def check(self, figures: dict[str, Any]) -> None:
        """Refuse what lies outside.

        Args:
            figures: as `to_int8` returns them.

        Raises:
            ExportRefused: the top 10 are too different, or NDCG@10 drops too far.
        """
        same, ndcg = figures["top 10 overlap"], figures["ndcg@10"]
        if same < self.min_overlap:
            raise ExportRefused(
                f"INT8 keeps {same:.3f} of FP32's top {TOP}; at least {self.min_overlap:g} is allowed"
                " (--min-overlap)"
            )
        if ndcg and -ndcg["change"] > self.max_ndcg_drop:
            raise ExportRefused(
                f"INT8 loses {-ndcg['change']:.2%} of FP32's NDCG@{TOP} (standard error"
                f" {ndcg['standard error']:.2%}); at most {self.max_ndcg_drop:.2%} is allowed"
                " (--max-ndcg-drop)"
            )


def to_int8(
    checkpoint: Checkpoint, dataset: Dataset, built: Path, bounds: Bounds, seed: int
) -> dict[str, Any]:
    """Put an INT8 encoder in the place of the FP32 one, unless it costs too much.

    Attention and fusion scorer stay as they are: together they take about a hundredth of the encoder's
    arithmetic.

    Args:
        checkpoint: what the graphs were made from.
        dataset: has the pictures and, if the checkpoint was trained on it, the questions.
        built: holds `<model>/model.onnx` in FP32.
        bounds: what it may cost.
        seed: decides which pictures are taken.

    Returns:
        The figures: `layers` and how many stayed in float; `top 10 overlap` with FP32 over `pictures` that
        were not calibrated on, each sent alone; and `ndcg@10` of pictures sent with histories, empty where
        nothing is known about people.

    Raises:
        ExportRefused: it costs too much, the quantizer can't take the encoder, or there are too few pictures.
    """
    order = np.random.default_rng(seed).permutation(len(dataset.catalogue))
    count = min(CALIBRATION, len(order) // 2)
    size = checkpoint.model_config.picture_size
    _, calibration = _load(dataset, order[:count], size)
    rows, pictures = _load(dataset, order[count : count + MEASURED], size)
    if not len(calibration) or not len(pictures):
        raise ExportRefused(
            "INT8 needs two pictures or more, some to calibrate on and others to measure on: export without"
            " --precision int8"
        )
    answers = Answers(checkpoint, built)
    float_encoder, encoder = built / "encoder" / "model.onnx", built / "int8.onnx"
    expected = answers.rank(answers.see(float_encoder, calibration))
    quantized = quantize_encoder(
        float_encoder,
        encoder,
        calibration,
        agreement=lambda candidate: overlap(answers.rank(answers.see(candidate, calibration)), expected),
        # pictures that were not calibrated on agree less: half of what the bound allows is left to them
        wanted=(1 + bounds.min_overlap) / 2,
    )
    theirs = answers.see(float_encoder, pictures, "pictures in FP32")
    ours = answers.see(encoder, pictures, "pictures in INT8")
    figures = {
        "layers": quantized.layers,
        "float layers": quantized.float_layers,
        "pictures": len(pictures),
        "top 10 overlap": overlap(answers.rank(ours), answers.rank(theirs)),
        "ndcg@10": compare_ndcg(answers, ours, theirs, read_questions(checkpoint, dataset, rows)),
    }
    bounds.check(figures)
    encoder.replace(float_encoder)
    float_encoder.with_name("model.onnx.data").unlink(missing_ok=True)  # weights of a very large one
    return figures


def _load(dataset: Dataset, rows: Rows, size: int) -> tuple[Rows, npt.NDArray[np.uint8]]:
    """Pictures uint8 [n, S, S, 3] of catalogue rows, and the rows of those that could be read."""
    pictures, broken = load_pictures([dataset.catalogue.images[row] for row in rows], size)
    whole = np.asarray([place not in broken for place in range(len(rows))], dtype=bool)
    return rows[whole], pictures[whole]
