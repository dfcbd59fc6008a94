"""The small shop with a split of its own, as every benchmark of quality needs it."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture(scope="session")
def split_shop(small_shop, tmp_path_factory):
    """A data folder: a tenth of the items cold, a fifth of what is left valid or test."""
    shop = shutil.copytree(small_shop, tmp_path_factory.mktemp("split") / "shop")
    done = pq.read_table(shop / "interactions.parquet")
    ids = np.asarray(done["item_id"].to_pylist())
    rng = np.random.default_rng(0)
    names = np.unique(ids)
    cold = np.isin(ids, rng.choice(names, len(names) // 10, replace=False))
    parts = np.where(cold, "cold", rng.choice(["train", "valid", "test"], len(ids), p=[0.8, 0.1, 0.1]))
    pq.write_table(done.append_column("split", pa.array(parts.tolist())), shop / "interactions.parquet")
    return shop


@pytest.fixture(scope="session")
def prepared(split_shop, cache):
    """The shop as benchmarks see it."""
    from benchmarks.quality.visrec_run import prepared_for

    return prepared_for(split_shop, cache)
