"""Whether attention lies on the object: measured on pictures whose object is known."""

import numpy as np
import pytest

from visrec_training.grounds import attention_on_object, object_shares


def picture(colour=(200, 30, 30), ground=255):
    """A square in the middle of a plain ground: the centre region and half of its neighbours."""
    pixels = np.full((224, 224, 3), ground, dtype=np.uint8)
    pixels[80:144, 80:144] = colour
    return pixels


def test_regions_know_how_much_of_them_is_object():
    shares = object_shares(picture()[None])[0]
    assert shares[3, 3] == 1
    assert shares[3, 2] == pytest.approx(0.5)
    assert shares[0].sum() == 0


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_the_grounds_colour_does_not_matter(ground):
    assert object_shares(picture(ground=ground)[None]).mean() == pytest.approx(64 * 64 / 224**2)


def test_attention_on_the_object_beats_a_uniform_map_and_on_the_ground_does_not():
    centre, corner = np.zeros((2, 1, 7, 7))
    centre[0, 3, 3] = corner[0, 0, 0] = 1
    on, off = (attention_on_object(attention, picture()[None]) for attention in (centre, corner))
    assert (on["on the object"], on["above uniform"]) == (1, 1)
    assert (off["on the object"], off["above uniform"]) == (0, 0)


def test_photographs_without_a_plain_ground_are_not_judged():
    noise = np.random.default_rng(0).integers(0, 255, (3, 224, 224, 3), dtype=np.uint8)
    assert attention_on_object(np.full((3, 7, 7), 1 / 49), noise) == {}
