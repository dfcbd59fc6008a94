"""A small sticker shop, trained, exported and served once for all tests. All of it is real."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

os.environ.setdefault("OMP_NUM_THREADS", "1")  # more would spin beside servers, on two cores
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # as `visrec` does


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """A folder of this run, which all of its workers share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def made_once(root):
    """Have the first worker that needs a folder fill it, for all; nobody may change it."""

    def make(name, fill):
        folder, is_made = root / name, root / f"{name}.made"
        with FileLock(root / f"{name}.lock"):
            if not is_made.exists():
                folder.mkdir()
                fill(folder)
                is_made.touch()
        return folder

    return make


@pytest.fixture(scope="session", autouse=True)
def cache(root) -> Path:
    """visrec's cache, by default and where it is named."""
    os.environ["XDG_CACHE_HOME"] = str(root)
    return root / "visrec"


@pytest.fixture(scope="session")
def small_shop(made_once):
    """A data folder of some 240 real stickers, a red apple among them, and 400 simulated shoppers."""
    from visrec_demo.catalogue import stickers, write_catalogue
    from visrec_demo.shoppers import ShopperConfig, write_shoppers

    def write(folder):
        drawn = enumerate(stickers())
        chosen = [sticker for place, sticker in drawn if not place % 7 or sticker.title == "red apple"]
        write_catalogue(folder, chosen)
        write_shoppers(folder, ShopperConfig(shoppers=400, picks=12))

    return made_once("small_shop", write)


@pytest.fixture(scope="session")
def visrec():
    """The `visrec` command, in this process; gives the exit code."""
    from visrec_cli.main import main

    return lambda *words: main([str(word) for word in words])


@pytest.fixture(scope="session")
def run(small_shop, visrec, made_once) -> Path:
    """The out folder of a short training run on the small shop."""

    def train(out):
        assert visrec("train", "--data", small_shop, "--out", out, "--epochs", 6) == 0

    return made_once("run", train)


@pytest.fixture(scope="session")
def repository(run, small_shop, visrec, made_once, tmp_path_factory) -> Path:
    """A model repository that holds the run's first release; each worker's own, as servers write there."""

    def export(folder):
        words = ("--checkpoint", run / "best.pt", "--data", small_shop, "--repository", folder)
        assert visrec("export", *words) == 0

    released = made_once("released", export)
    return shutil.copytree(released, tmp_path_factory.mktemp("models") / "model_repository")


@pytest.fixture(scope="session")
def add_split():
    """Adds the column `split`: a tenth of the items cold, a fifth of what is left valid or test."""
    import numpy as np
    import pyarrow as pa

    def add(interactions, rng):
        ids = np.asarray(interactions["item_id"].to_pylist())
        names = np.unique(ids)
        cold = np.isin(ids, rng.choice(names, len(names) // 10, replace=False))
        parts = np.where(cold, "cold", rng.choice(["train", "valid", "test"], len(ids), p=[0.8, 0.1, 0.1]))
        return interactions.append_column("split", pa.array(parts.tolist()))

    return add


@pytest.fixture(scope="session")
def split_shop(small_shop, add_split, tmp_path_factory) -> Path:
    """A data folder of the small shop with the column `split`."""
    import numpy as np
    import pyarrow.parquet as pq

    shop = shutil.copytree(small_shop, tmp_path_factory.mktemp("split") / "shop")
    done = pq.read_table(shop / "interactions.parquet")
    pq.write_table(add_split(done, np.random.default_rng(0)), shop / "interactions.parquet")
    return shop


@pytest.fixture(scope="session")
def prepared(split_shop, cache):
    """The small shop with a split of its own, as visrec's default encoder sees it."""
    import torch

    from visrec_training.config import ModelConfig, TrainConfig
    from visrec_training.encoder import PRETRAINED, Encoder
    from visrec_training.prepare import prepare, read

    model = ModelConfig()
    encoder = Encoder(model.backbone, model.levels, weights=PRETRAINED)
    return prepare(read(split_shop, None), encoder, model, TrainConfig(), cache, torch.device("cpu"))
