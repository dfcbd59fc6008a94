"""What is put on the wire, and what is understood from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc.service_pb2 import ModelMetadataResponse

from visrec_client import errors
from visrec_client.ranking import RankedItem
from visrec_client.request import MAX_TEXT, Request
from visrec_client.status import error_from_status
from visrec_client.wire import Dimensions, ranked_items, ranking_request, read_dimensions, unknown_history
from visrec_training.text.characters import MAX_CHARACTERS

DIMENSIONS = Dimensions(picture_size=224, history_length=3, items=4, aspects=2, aspect_width=5, regions=49)
QUERY = {"HISTORY": ("BYTES", [-1, 50]), "TEXT": ("BYTES", [-1, 1])}
RANKED = {
    "ITEM_ID": ("BYTES", [-1, 100]),
    "SCORE": ("FP32", [-1, 100]),
    "ATTENTION": ("FP32", [-1, 7, 7]),
    "KNOWN": ("BOOL", [-1, 50]),
    "UNDERSTOOD": ("FP32", [-1, 1]),
    "RELEASE": ("INT64", [-1, 1]),
}
MODELS = {
    "recommender": ({"IMAGE": ("UINT8", [-1, 224, 224, 3]), **QUERY}, RANKED),
    "ranker": ({"ASPECTS": ("FP32", [-1, 8, 64]), "MAPS": ("FP32", [-1, 8, 49]), **QUERY}, RANKED),
}


def metadata(
    model: str = "", tensor: str = "", changed: tuple[str, list[int]] | None = None
) -> dict[str, object]:
    """The metadata that a server of the contract gives; one tensor changed, or removed where it is None."""
    messages = {}
    for name, (inputs, outputs) in MODELS.items():
        message = messages[name] = ModelMetadataResponse(name=name)
        for tensors, field in ((inputs, message.inputs), (outputs, message.outputs)):
            for tensor_name, form in tensors.items():
                datatype, shape = form
                if (name, tensor_name) == (model, tensor):
                    if changed is None:
                        continue
                    datatype, shape = changed
                field.add(name=tensor_name, datatype=datatype, shape=shape)
    return messages


def test_the_sizes_are_learnt_from_the_server() -> None:
    assert read_dimensions(metadata()) == Dimensions(
        picture_size=224, history_length=50, items=100, aspects=8, aspect_width=64, regions=49
    )


@pytest.mark.parametrize(
    ("model", "tensor"),
    [(model, tensor) for model, forms in MODELS.items() for form in forms for tensor in form],
)
def test_a_missing_tensor_is_named(model: str, tensor: str) -> None:
    with pytest.raises(errors.IncompatibleServer, match=f"'{model}' has no (input|output) {tensor}"):
        read_dimensions(metadata(model, tensor))


@pytest.mark.parametrize(
    ("model", "tensor", "changed", "message"),
    [
        ("recommender", "IMAGE", ("FP32", [-1, 3, 224, 224]), r"IMAGE FP32 .*expects UINT8 \[batch, S=3"),
        ("recommender", "IMAGE", ("UINT8", [-1, 224, 200, 3]), r"expects UINT8 \[batch, S=224, S=224, 3\]"),
        ("recommender", "HISTORY", ("BYTES", [-1, -1]), "HISTORY BYTES"),
        ("recommender", "TEXT", ("INT64", [-1, 64]), r"TEXT INT64 .*expects BYTES \[batch, 1\]"),
        ("ranker", "HISTORY", ("BYTES", [-1, 30]), r"'ranker' has the input HISTORY .*L=50"),
        ("ranker", "SCORE", ("FP32", [-1, 20]), "K=100"),
        ("ranker", "MAPS", ("FP32", [-1, 8, 64]), "MAPS of 64 places, but ATTENTION of 7 x 7"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(
    model: str, tensor: str, changed: tuple[str, list[int]], message: str
) -> None:
    with pytest.raises(errors.IncompatibleServer, match=message):
        read_dimensions(metadata(model, tensor, changed))


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=6))
def test_the_newest_of_the_history_is_sent_oldest_first_then_padding(history: list[str]) -> None:
    _, tensors = ranking_request(DIMENSIONS, None, history, "")
    newest = [item_id.encode() for item_id in history[-3:]]
    assert tensors["HISTORY"].tolist() == [newest + [b""] * (3 - len(newest))]


def test_a_picture_goes_to_the_recommender() -> None:
    picture = np.full((224, 224, 3), 9, np.uint8)
    model, tensors = ranking_request(DIMENSIONS, picture, ["a"], "red")
    assert model == "recommender"
    assert {name: (tensor.dtype.str, tensor.shape) for name, tensor in tensors.items()} == {
        "IMAGE": ("|u1", (1, 224, 224, 3)),
        "HISTORY": ("|O", (1, 3)),
        "TEXT": ("|O", (1, 1)),
    }


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_a_text_is_sent_as_it_was_typed(text: str) -> None:
    _, tensors = ranking_request(DIMENSIONS, None, [], text)
    assert tensors["TEXT"].tolist() == [[text.encode()]]


def test_what_follows_a_nul_is_sent_too() -> None:
    """NUL ends a string for Triton's C++ backend."""
    _, tensors = ranking_request(DIMENSIONS, None, [], "red\0apple")
    assert tensors["TEXT"].tolist() == [[b"red apple"]]


def test_a_text_is_as_long_as_what_the_model_reads() -> None:
    assert MAX_TEXT == MAX_CHARACTERS
    assert Request(text="é" * MAX_TEXT).text
    with pytest.raises(errors.InvalidRequest, match=r"16,385 characters, of which the model reads 16,384"):
        Request(text="é" * (MAX_TEXT + 1))


def test_without_a_picture_the_fusion_scorer_is_told_by_zeros() -> None:
    model, tensors = ranking_request(DIMENSIONS, None, [], "")
    assert model == "ranker"
    assert tensors["ASPECTS"].shape == (1, 2, 5)
    assert tensors["MAPS"].shape == (1, 2, 49)
    assert not tensors["ASPECTS"].any()
    assert not tensors["MAPS"].any()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("history", [3]),
        ("history", ["a", None]),
        ("history", ["\ud800"]),
        ("exclude", [b"a"]),
        ("exclude", 7),
        ("text", "\ud800"),
        ("request_id", 7),
    ],
)
def test_what_no_server_could_take_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(errors.InvalidRequest, match=field):
        Request(**{field: value})


def test_ids_that_the_catalogue_lacks_are_reported_once_and_in_order() -> None:
    known = np.array([[True, False, False, False]])
    assert unknown_history(["old", "a", "x", "", "x"], {"KNOWN": known}) == ("x", "")
    assert unknown_history(["b", "a"], {"KNOWN": known}) == ("a",)
    assert unknown_history([], {"KNOWN": known}) == ()


def test_an_id_that_is_no_text_is_refused() -> None:
    outputs = {"ITEM_ID": np.array([[b"caf\xe9"]], object), "SCORE": np.array([[1]], np.float32)}
    with pytest.raises(errors.IncompatibleServer, match=r"caf\\xe9.*not UTF-8"):
        ranked_items(outputs)


def test_the_padding_of_a_small_catalogue_is_dropped() -> None:
    outputs = {
        "ITEM_ID": np.array([["küche".encode(), b"b", b"", b""]], object),
        "SCORE": np.array([[0.75, 0.25, 0, 0]], np.float32),
    }
    assert ranked_items(outputs) == (RankedItem("küche", 0.75), RankedItem("b", 0.25))


@pytest.mark.parametrize(
    ("status", "details", "kind"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses; connection refused", errors.ServerUnavailable),
        ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped", errors.ServerUnavailable),
        ("UNAVAILABLE", "[request id: <id_unknown>] Exceeds maximum queue size", errors.Overloaded),
        ("UNAVAILABLE", "Request timeout expired", errors.Overloaded),
        (
            "UNAVAILABLE",
            "Request for unknown model: 'x' has no available versions",
            errors.IncompatibleServer,
        ),
        ("NOT_FOUND", "Request for unknown model: 'x' is not found", errors.IncompatibleServer),
        ("UNIMPLEMENTED", "", errors.IncompatibleServer),
        ("INVALID_ARGUMENT", "unexpected shape for input 'HISTORY'", errors.IncompatibleServer),
        ("RESOURCE_EXHAUSTED", "Sent message larger than max (9 vs. 8)", errors.InvalidRequest),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 8)", errors.IncompatibleServer),
        ("RESOURCE_EXHAUSTED", "", errors.Overloaded),
        (
            "UNAVAILABLE",
            "This protocol is restricted, expecting header 'visrec-api-key'",
            errors.Unauthenticated,
        ),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", errors.DeadlineExceeded),
        ("INTERNAL", "Stub process 'encoder' is not\nhealthy.", errors.ServerError),
        ("UNKNOWN", "", errors.ServerError),
    ],
)
def test_each_status_is_told_as_its_cause(status: str, details: str, kind: type[errors.VisrecError]) -> None:
    error = error_from_status(status, details, "localhost:8001")
    assert type(error) is kind
    assert "localhost:8001" in str(error) or kind is errors.InvalidRequest
    assert "\n" not in str(error)
