"""What strangers send: hypothesis strategies for broken pictures, odd requests and malformed tensors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image
from tritonclient.grpc.service_pb2 import ModelInferRequest

MODELS = (
    "recommender",
    "ranker",
    "embedder",
    "encoder",
    "attention",
    "fusion_scorer",
    "",
    "../etc",
    "canary",
)
TENSORS = ("IMAGE", "HISTORY", "TEXT", "ASPECTS", "MAPS", "REGIONS", "", "SCORE")
DATATYPES = ("UINT8", "BYTES", "INT64", "FP32", "BOOL", "FP16", "", "STRING")


def sample_pictures() -> list[bytes]:
    """Whole pictures to break, in the formats that the client takes."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    files = []
    for form in ("JPEG", "PNG", "WEBP", "GIF"):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, form)
        files.append(file.getvalue())
    return files


@st.composite
def broken_pictures(draw: st.DrawFn, samples: Sequence[bytes]) -> bytes:
    """A picture's file with some bytes changed, taken out, put in or cut off; now and then just bytes."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=300))
    content = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 8))):
        # headers matter most, and lie at the start
        place = draw(st.integers(0, min(len(content), 64)) | st.integers(0, len(content)))
        change = draw(st.sampled_from(("set", "insert", "delete", "cut")))
        if change == "set":
            content[place : place + 1] = draw(st.binary(min_size=1, max_size=4))
        elif change == "insert":
            content[place:place] = draw(st.binary(min_size=1, max_size=16))
        elif change == "delete":
            del content[place : place + draw(st.integers(1, 32))]
        elif draw(st.integers(0, 3)) == 0:
            del content[place:]
    return bytes(content)


def odd_requests(samples: Sequence[bytes]) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of `Recommender.recommend`, of the right types or not."""
    text = st.text(max_size=200)  # with every code point, single surrogates among them
    pixels = st.builds(
        lambda shape, kind: np.zeros(shape, kind),
        st.lists(st.integers(0, 300), max_size=4).filter(lambda shape: np.prod(shape, dtype=float) < 1e6),
        st.sampled_from((np.uint8, np.float32, np.bool_, np.complex64, np.int64)),
    )
    anything = st.none() | st.booleans() | st.integers() | st.floats() | text
    return st.fixed_dictionaries(
        {},
        optional={
            "image": st.none() | broken_pictures(samples) | st.sampled_from(samples) | pixels | anything,
            "history": st.lists(text | anything, max_size=120) | anything,
            "text": text | st.builds(str.__mul__, text, st.integers(0, 200)) | anything,
            "k": st.integers(-1, 200) | anything,
            "exclude": st.lists(text, max_size=9) | anything,
            "request_id": text | anything,
            "trace": st.dictionaries(st.sampled_from(("traceparent", "tracestate", "x")), text, max_size=3),
        },
    )


def _utf8(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


SIZES = {"IMAGE": 224 * 224 * 3, "ASPECTS": 8 * 64 * 4, "MAPS": 8 * 49 * 4}
SHAPES = {"IMAGE": [224, 224, 3], "HISTORY": [50], "TEXT": [1], "ASPECTS": [8, 64], "MAPS": [8, 49]}
KINDS = {"IMAGE": "UINT8", "HISTORY": "BYTES", "TEXT": "BYTES", "ASPECTS": "FP32", "MAPS": "FP32"}


@st.composite
def malformed_messages(draw: st.DrawFn) -> ModelInferRequest:
    """A request with something wrong in it, now and then with nothing: names, types, shapes, contents."""
    tensors = draw(st.sampled_from((("IMAGE", "HISTORY", "TEXT"), ("ASPECTS", "MAPS", "HISTORY", "TEXT"))))
    message = ModelInferRequest(model_name="ranker" if "MAPS" in tensors else "recommender")
    for name in tensors:
        message.inputs.add(name=name, datatype=KINDS[name], shape=[1, *SHAPES[name]])
        if KINDS[name] == "BYTES":  # texts, or bytes that are no UTF-8
            word = draw(st.just(b"") | st.binary(max_size=80) | st.text(max_size=80).map(_utf8))
            filled = (len(word).to_bytes(4, "little") + word) * SHAPES[name][0]
        else:  # floats that are no numbers
            filled = draw(st.binary(min_size=4, max_size=4)) * (SIZES[name] // 4)
        message.raw_input_contents.append(filled)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(tensors) - 1))
        odd = st.lists(st.integers(-1, 300) | st.integers(-(2**63), 2**63 - 1), max_size=5)
        change = draw(st.sampled_from(("content", "shape", "datatype", "name", "output", "model", "version")))
        if change == "content":
            message.raw_input_contents[place] = draw(
                st.binary(max_size=64) | st.builds(bytes, st.integers(0, 999))
            )
        elif change == "shape":
            message.inputs[place].shape[:] = draw(odd)
        elif change == "datatype":
            message.inputs[place].datatype = draw(st.sampled_from(DATATYPES))
        elif change == "name":
            message.inputs[place].name = draw(st.sampled_from(TENSORS))
        elif change == "output":
            message.outputs.add(name=draw(st.sampled_from((*TENSORS, "ITEM_ID"))))
        elif change == "model":
            message.model_name = draw(st.sampled_from(MODELS))
        else:
            message.model_version = draw(st.sampled_from(("1", "99", "-1", "x")))
    return message
