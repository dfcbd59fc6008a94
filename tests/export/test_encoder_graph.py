"""Encoders of other kinds than the default as ONNX graphs: what they see is what PyTorch sees."""

import numpy as np
import onnxruntime
import pytest
import torch

from visrec_export.graphs import write_encoder
from visrec_training.config import ModelConfig
from visrec_training.encoder import LITE2, Encoder


@pytest.mark.parametrize("backbone", [LITE2, "vit_base_patch32_clip_224", "vit_small_patch14_reg4_dinov2"])
def test_a_graph_sees_what_pytorch_sees(backbone, cache, tmp_path):
    torch.manual_seed(0)
    encoder = Encoder(backbone, ModelConfig().levels)
    write_encoder(encoder, 224, tmp_path, cache)
    session = onnxruntime.InferenceSession(
        tmp_path / "encoder" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    pictures = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    with torch.no_grad():
        seen = encoder(torch.from_numpy(pictures)).numpy()
    (regions,) = session.run(["REGIONS"], {"IMAGE": pictures})
    np.testing.assert_allclose(regions, seen, rtol=0, atol=1e-4 * np.abs(seen).max())
