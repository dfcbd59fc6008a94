"""What strangers send breaks nothing: typed errors from the client, refusals from the server."""

import contextlib

import grpc
import pytest
import tritonclient.grpc as grpcclient
from benchmarks.faults.hostile import broken_pictures, malformed_messages, odd_requests, sample_pictures
from dummy_graphs import ITEMS
from hypothesis import HealthCheck, given, settings
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from visrec_client import InvalidImage, InvalidRequest, Recommender

SAMPLES = sample_pictures()
MANY = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def recommender(committed_server):
    with Recommender(committed_server.grpc_url, timeout=10) as recommender:
        yield recommender


@pytest.fixture(scope="module", autouse=True)
def healthy_afterwards(committed_server, recommender):
    before = recommender.recommend(SAMPLES[0], ITEMS[:3]).items
    yield
    committed_server.check()
    with grpcclient.InferenceServerClient(committed_server.grpc_url) as client:
        assert client.is_server_ready()
    assert recommender.recommend(SAMPLES[0], ITEMS[:3]).items == before


@MANY
@given(picture=broken_pictures(SAMPLES))
def test_a_broken_picture_is_answered_or_refused_as_one(recommender, picture):
    with contextlib.suppress(InvalidImage):
        assert recommender.recommend(picture).items


@MANY
@given(request=odd_requests(SAMPLES))
def test_an_odd_request_is_answered_or_refused_by_its_name(recommender, request):
    with contextlib.suppress(InvalidImage, InvalidRequest):
        assert len(recommender.recommend(**request).items) <= request.get("k", 10)


@MANY
@given(message=malformed_messages())
def test_malformed_tensors_are_refused_by_the_server(committed_server, message):
    with grpc.insecure_channel(committed_server.grpc_url) as channel, contextlib.suppress(grpc.RpcError):
        GRPCInferenceServiceStub(channel).ModelInfer(message, timeout=10)
