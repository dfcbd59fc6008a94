"""However a shop's tables are written, the same shop is read, and the same model is trained."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from spellings import (
    COMPRESSIONS,
    ID_TYPES,
    LAYOUTS,
    MISSING,
    NOBODY,
    PEOPLE,
    TIME_TYPES,
    Spelling,
    write_shop,
)

from visrec_training.checkpoint import Checkpoint
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.data import read_dataset
from visrec_training.encoder import Encoder
from visrec_training.errors import DataError
from visrec_training.fingerprint import fingerprint
from visrec_training.prepare import prepare, summarize
from visrec_training.train import Trainer

PLAIN = Spelling("csv", "file", ",", "", False, "\n", False, "text", "int", "", 0)
SPELLINGS = st.builds(
    Spelling,
    format=st.sampled_from(["csv", "csv", "parquet"]),
    layout=st.sampled_from(LAYOUTS),
    separator=st.sampled_from(",;\t|"),
    compression=st.sampled_from(list(COMPRESSIONS)),
    bom=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoted=st.booleans(),
    ids=st.sampled_from(ID_TYPES),
    times=st.sampled_from(TIME_TYPES),
    missing=st.sampled_from(MISSING),
    seed=st.integers(0, 99),
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def learn(tmp_path_factory, cache):
    """Read a shop, and train on it, in a folder of another name each time; gives what must be the same."""
    torch.manual_seed(0)
    encoder = Encoder("resnet18", (4,))
    model = ModelConfig(backbone="resnet18", levels=(4,), region_dim=8, aspects=2, aspect_dim=8, dim=16)
    config = TrainConfig(epochs=0, cold_share=0.1)

    def learn(spelling, *, trains):
        folder = tmp_path_factory.mktemp("a shop's Größe ")
        try:
            write_shop(folder, spelling)
            prepared = prepare(read_dataset(folder), encoder, model, config, cache, CPU)
            known = fingerprint(prepared.dataset, prepared.regions, prepared.split)
            digest = None
            if trains:
                Trainer(prepared, encoder, model, config, folder / "run", CPU).run()
                digest = Checkpoint.load(folder / "run" / "best.pt").digest()
        finally:
            shutil.rmtree(folder)
        summary = summarize(prepared)
        counts = (summary.items.used, summary.interactions.read, summary.interactions.used, summary.users)
        return prepared.dataset.catalogue.item_ids, counts, known, digest

    return learn


@pytest.fixture(scope="module")
def plain(learn):
    return learn(PLAIN, trains=True)


def test_the_shop_is_read_as_it_is_written(plain):
    item_ids, (items, read, used, users), _, _ = plain
    assert sorted(item_ids, key=int) == [str(number) for number in range(1, 25)]
    assert (items, read - used, users) == (24, NOBODY, PEOPLE)


MANY = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@settings(MANY, max_examples=30)
@given(spelling=SPELLINGS)
def test_every_spelling_gives_the_same_people_items_and_counts(spelling, learn, plain):
    *read, _ = learn(spelling, trains=False)
    assert read == list(plain[:-1])


@settings(MANY, max_examples=4)
@given(spelling=SPELLINGS)
def test_every_spelling_gives_the_same_weights(spelling, learn, plain):
    assert learn(spelling, trains=True) == plain


@pytest.mark.parametrize(("encoding", "named"), [("utf-16", "UTF-16"), ("latin-1", "Latin-1")])
def test_other_encodings_are_refused_by_name(tmp_path, encoding, named):
    write_shop(tmp_path, PLAIN)
    (tmp_path / "items.csv").write_bytes(
        "item_id,image,title\n1,pictures/1.png,Tasse für Tee\n".encode(encoding)
    )
    with pytest.raises(DataError, match=f"{named}.*iconv"):
        read_dataset(tmp_path)
