"""The small shop with a split of its own, as every benchmark of quality needs it."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest


@pytest.fixture(scope="session")
def split_shop(small_shop, add_split, tmp_path_factory):
    """A data folder with the column `split`."""
    shop = shutil.copytree(small_shop, tmp_path_factory.mktemp("split") / "shop")
    done = pq.read_table(shop / "interactions.parquet")
    pq.write_table(add_split(done, np.random.default_rng(0)), shop / "interactions.parquet")
    return shop


@pytest.fixture(scope="session")
def prepared(split_shop, cache):
    """The shop as benchmarks see it."""
    from benchmarks.quality.visrec_run import prepared_for

    return prepared_for(split_shop, cache)
