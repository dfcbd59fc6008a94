import pytest


@pytest.fixture(scope="session")
def server(repository):
    """The real tritonserver with the small shop's release, on free ports."""
    from visrec_serving import Server, ServerConfig

    config = ServerConfig(repository=repository, grpc_port=0, http_port=0, metrics_port=0)
    with Server(config) as server:
        yield server


@pytest.fixture(scope="session")
def recommender(server):
    from visrec_client import Recommender

    with Recommender(server.grpc_url, timeout=30) as recommender:
        yield recommender


@pytest.fixture(scope="session")
def items(small_shop):
    from visrec_demo.catalogue import read_items

    return read_items(small_shop)
