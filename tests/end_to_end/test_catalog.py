"""`visrec catalog`: items come and go on a running server, without training."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from visrec_client import Recommender
from visrec_demo.catalogue import read_items, stickers, write_catalogue
from visrec_serving import Server, ServerConfig, pins
from visrec_training.checkpoint import Checkpoint
from visrec_training.data import read_dataset
from visrec_training.split import split


@pytest.fixture(scope="module")
def checkpoint(run):
    return Checkpoint.load(run / "best.pt")


@pytest.fixture(scope="module")
def shop_server(repository, tmp_path_factory):
    """A server of its own, whose catalogue the tests change, one after the other."""
    folder = shutil.copytree(repository, tmp_path_factory.mktemp("changed") / "models")
    with Server(ServerConfig(repository=folder, grpc_port=0, http_port=0, metrics_port=0)) as server:
        yield server


@pytest.fixture(scope="module")
def recommender(shop_server):
    with Recommender(shop_server.grpc_url, timeout=30) as recommender:
        yield recommender


@pytest.fixture
def catalog(shop_server, run, visrec, capsys):
    """`visrec catalog CHANGE` for this server: its exit code, what it printed, and what on stderr."""

    def catalog(*words, checkpoint=run / "best.pt"):
        where = ("--repository", shop_server.config.repository, "--url", shop_server.grpc_url)
        code = visrec("catalog", *words, "--checkpoint", checkpoint, *where)
        said = capsys.readouterr()
        return code, said.out, said.err

    return catalog


@pytest.fixture(scope="module")
def cold(small_shop, checkpoint):
    """An item that training was shown nothing of, by its row."""
    config = checkpoint.train_config
    parts = split(read_dataset(small_shop), cold_share=config.cold_share, seed=config.seed)
    return int(np.flatnonzero(parts.is_cold)[0])


@pytest.fixture(scope="module")
def new_folder(tmp_path_factory, small_shop, checkpoint, cold):
    """A data folder of stickers that the shop lacks, and of two that it has."""
    folder = tmp_path_factory.mktemp("new")
    has = {item.title for item in read_items(small_shop).values()}
    titles = {read_items(small_shop)[checkpoint.item_ids[row]].title for row in (cold, cold + 1)}
    lacked = [sticker for sticker in stickers() if sticker.title not in has][3::150]
    write_catalogue(folder, [*lacked, *(sticker for sticker in stickers() if sticker.title in titles)])
    (folder / "interactions.csv").write_text("visitor,sku,when\na,b,yesterday\n")  # not looked at
    return folder


def found(recommender, **request):
    return [item.item_id for item in recommender.recommend(**request).items]


def test_items_come_and_go(
    shop_server, recommender, catalog, visrec, capsys, checkpoint, cold, new_folder, items
):
    repository = shop_server.config.repository
    gone, kept = checkpoint.item_ids[cold], checkpoint.item_ids[cold + 1]
    picture = items[gone].picture
    assert gone in found(recommender, image=picture, k=10)

    code, said, _ = catalog("remove", gone)
    assert code == 0
    assert said.endswith("release 2 is served\n")
    for request in ({"image": picture}, {"text": items[gone].title}, {"history": [kept]}, {}):
        assert gone not in found(recommender, k=100, **request)

    code, said, warned = catalog("add", "--data", new_folder)
    assert code == 0
    assert f"1 items that the catalogue has already: {kept}: left as they are" in warned
    new = {item_id: item for item_id, item in read_items(new_folder).items() if item_id != kept}
    assert f"{len(new)} items are new" in said
    places = [found(recommender, image=item.picture, k=100).index(item_id) for item_id, item in new.items()]
    assert max(places) < 10, "who looks at one is shown it, of 240 items"
    for model in ("encoder", "attention"):
        first, third = (repository / model / number / "model.onnx" for number in ("1", "3"))
        assert third.samefile(first), "what did not change takes no space"

    added = json.loads((repository / "release-3.json").read_text())["catalogue"]
    assert added == {"after release": 2, "added": len(new) - 1, "removed": 0}
    with np.load(repository / "catalogue-3.npz") as stored:
        stock = stored["item_ids"].tolist()
        for name in ("vectors", "sources", "texts"):
            trained = getattr(checkpoint.items, name)
            again, known = stored[name][stock.index(gone)], stored[name][stock.index(kept)]
            if name == "texts":  # until the next training, content alone places it in the other spaces
                assert again == pytest.approx(trained[cold].numpy(), abs=0.02), "as training placed it"
            assert known == pytest.approx(trained[cold + 1].numpy()), "what is known stays where it was"

    first, second = list(new)[:2]
    code, *_ = catalog("remove", first, kept)
    assert code == 0
    assert first not in found(recommender, image=new[first].picture, k=100)
    assert second in found(recommender, image=new[second].picture, k=100), "changes build on what is served"
    assert visrec("status", "--repository", repository, "--url", shop_server.grpc_url) == 0
    said = capsys.readouterr().out
    assert f"{len(new) - 2} items added and 1 removed since training" in said
    assert re.search(
        r"trained on items (\d+) of \1 rows; interactions [\d,]+ of [\d,]+ rows; 400 users", said
    )


def test_what_can_not_be_done_changes_nothing(shop_server, catalog, checkpoint, tmp_path, capsys):
    repository = shop_server.config.repository
    before, releases = pins.texts(repository), set(repository.glob("release-*.json"))
    write_catalogue(tmp_path / "apple", [sticker for sticker in stickers() if sticker.title == "red apple"])
    capsys.readouterr()  # how far the drawing is
    other = tmp_path / "other.pt"
    items = checkpoint.items._replace(sources=checkpoint.items.sources + 1)
    dataclasses.replace(checkpoint, items=items).save(other)
    known = checkpoint.item_ids[5]
    for words, options, expected in (
        (("remove", known, "no such item"), {}, "1 ids that no item has: no such item; nothing was changed"),
        (("remove", known), {"checkpoint": other}, "was not made from this checkpoint"),
        (("remove", known, "--keep", 0), {}, "--keep is 0; allowed: at least 1"),
        (("add", "--data", tmp_path), {}, "holds neither items.parquet nor items.csv"),
        (("add", "--data", tmp_path / "apple"), {}, "nothing to add; 1 items that the catalogue has already"),
    ):
        code, _, error = catalog(*words, **options)
        assert code == 1
        assert expected in error and error.count("\n") == 1
    assert pins.texts(repository) == before
    assert set(repository.glob("release-*.json")) == releases
    assert not list(repository.glob(".export-*"))
