"""What `visrec bench` sends: real moments of real people, in perf_analyzer's own form."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from visrec_bench.errors import BenchError
from visrec_bench.requests import draw_moments, draw_requests, write_input_data
from visrec_client.picture import load_picture
from visrec_training.data import read_dataset

SHAPES = {"IMAGE": [8, 8, 3], "HISTORY": [5], "TEXT": [1]}


@pytest.fixture
def shop(tmp_path):
    """Six items of one colour each, and a person who went through all of them."""
    for place in range(6):
        Image.new("RGB", (16, 16), (40 * place, 0, 0)).save(tmp_path / f"{place}.png")
    rows = "".join(f"id-{place},{place}.png,thing number {place}\n" for place in range(6))
    (tmp_path / "items.csv").write_text("item_id,image,title\n" + rows)
    times = "".join(f"ann,id-{place},{place}\n" for place in range(6))
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n" + times)
    return read_dataset(tmp_path)


def test_a_request_is_a_picture_what_came_before_it_and_words_of_what_came_next(shop):
    requests = draw_requests(shop, SHAPES, count=20)
    for picture, history, text in zip(*requests.values(), strict=True):
        seen = [item_id for item_id in history if item_id]
        looked_at = len(seen)  # the only person went through the items in order
        assert seen == [f"id-{place}" for place in range(looked_at)]
        assert (picture == load_picture(shop.catalogue.images[looked_at], 8)).all()
        assert text.tolist() == [shop.catalogue.titles[looked_at + 1]]


def test_histories_keep_the_newest_ids_that_fit(shop):
    requests = draw_requests(shop, {"HISTORY": [2]}, count=50)
    fullest = {tuple(history) for history in requests["HISTORY"] if "" not in history.tolist()}
    assert ("id-2", "id-3") in fullest
    assert all(int(a[3:]) + 1 == int(b[3:]) for a, b in fullest)


def test_a_seed_decides_the_requests(shop):
    moments = [
        [(before.tolist(), after) for before, after in draw_moments(shop, 9, seed)] for seed in (1, 1, 2)
    ]
    assert moments[0] == moments[1] != moments[2]


def test_perf_analyzer_reads_pictures_as_base64_and_texts_as_they_are(shop, tmp_path):
    requests = draw_requests(shop, SHAPES, count=3)
    write_input_data(requests, tmp_path / "requests.json")
    written = json.loads((tmp_path / "requests.json").read_text())["data"]
    assert len(written) == 3
    for place, request in enumerate(written):
        assert {name: entry["shape"] for name, entry in request.items()} == SHAPES
        assert request["HISTORY"]["content"] == requests["HISTORY"][place].tolist()
        assert request["TEXT"]["content"] == requests["TEXT"][place].tolist()
        sent = np.frombuffer(base64.b64decode(request["IMAGE"]["content"]["b64"]), np.uint8)
        assert (sent == requests["IMAGE"][place].ravel()).all()


def test_without_a_picture_the_fusion_scorer_gets_zeros_as_from_the_client(shop):
    requests = draw_requests(shop, {"ASPECTS": [8, 64], "MAPS": [8, 49]}, count=2)
    assert requests["ASPECTS"].shape == (2, 8, 64)
    assert not requests["ASPECTS"].any() and not requests["MAPS"].any()


def test_a_model_that_no_client_calls_is_refused_in_one_line(shop):
    with pytest.raises(BenchError, match="REGIONS, which no data folder holds: choose recommender"):
        draw_requests(shop, {"REGIONS": [49, 496]}, count=1)
