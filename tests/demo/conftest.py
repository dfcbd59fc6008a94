from pathlib import Path

import pytest

from visrec_demo.catalogue import Item, read_items, write_catalogue


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the whole catalogue, drawn once."""
    folder = tmp_path_factory.mktemp("shop")
    write_catalogue(folder)
    return folder


@pytest.fixture(scope="session")
def items(shop: Path) -> dict[str, Item]:
    return read_items(shop)
