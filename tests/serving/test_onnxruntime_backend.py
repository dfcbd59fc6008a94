"""The stand-in backend answers as onnxruntime does in one process, and as the C++ backend is told to."""

from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from dummy_graphs import ITEMS, add, lookup, parameter, publish
from hypothesis import given, settings
from hypothesis import strategies as st

from visrec_serving import ServerFailed

# what a client can send: NUL ends a string for the C++ backend
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def numbers(seed, rows):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(rows, 3)).astype(np.float32) for name in ("FIRST", "SECOND")}


def strings(*rows):
    return {"WORD": np.array(rows, dtype=object)}


def equal(answers, expected):
    for answer, right in zip(answers, expected, strict=True):
        assert answer.keys() == right.keys()
        for name, array in right.items():
            np.testing.assert_array_equal(answer[name], array)
            assert answer[name].dtype == array.dtype


def statistics(server, model):
    with grpcclient.InferenceServerClient(server.grpc_url) as client:
        return client.get_inference_statistics(model).model_stats[0]


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_numbers_are_onnxruntimes(server, repository, ask, in_process, rows):
    feeds = numbers(rows, rows)
    equal(ask(server, "add", feeds), [in_process(repository, "add", feeds)])


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(WORDS | st.sampled_from(ITEMS), WORDS), min_size=1, max_size=8))
def test_strings_are_onnxruntimes(server, repository, ask, in_process, rows):
    feeds = strings(*rows)
    equal(ask(server, "lookup", feeds), [in_process(repository, "lookup", feeds)])


def test_requests_of_several_sizes_run_as_one_batch_and_each_gets_its_rows(
    server, repository, ask, in_process
):
    before = statistics(server, "add")
    requests = [numbers(seed, rows) for seed, rows in enumerate([1, 3, 1, 2])]
    answers = ask(server, "add", *requests)
    after = statistics(server, "add")
    equal(answers, [in_process(repository, "add", feeds) for feeds in requests])
    assert after.inference_count - before.inference_count == 7
    assert after.execution_count - before.execution_count < 4


def test_strings_of_one_batch_do_not_mix(server, repository, ask, in_process):
    requests = [strings((ITEMS[n], "?")) for n in range(3)] + [strings(("", "é"), (ITEMS[9], ITEMS[8]))]
    equal(ask(server, "lookup", *requests), [in_process(repository, "lookup", r) for r in requests])


def test_a_request_that_fails_does_not_fail_those_in_its_batch(server, ask):
    good, bad, other = ask(server, "pick", *({"INDEX": np.array([[n]])} for n in (1, 99, 3)))
    assert good["VALUE"] == 10
    assert other["VALUE"] == 30
    assert "idx=99 must be within the inclusive range" in str(bad)


def test_text_that_is_not_utf8_is_refused_and_the_server_goes_on(server, ask):
    broken, fine = ask(server, "lookup", strings((b"\xff", b"a")), strings((ITEMS[5], "a")))
    assert "can't decode byte 0xff" in str(broken)
    assert fine["ROW"].tolist() == [[5, -1]]


def test_settings_of_the_config_reach_onnxruntime(tmp_path, start):
    publish(
        tmp_path,
        "tuned",
        add(),
        config=parameter("intra_op_thread_count", 4)
        + parameter("inter_op_thread_count", 2)
        + parameter("execution_mode", 1)
        + parameter("session.intra_op.allow_spinning", 0)
        + "optimization { graph { level: -1 } }",
    )
    publish(tmp_path, "plain", add(), config=parameter("intra_op_thread_count", 1))
    with start(tmp_path) as server:
        threads = {}
        for child in Path(f"/proc/{server.pid}/task").glob("*/children"):
            for pid in child.read_text().split():
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                model = next(word for word in command if word.endswith("_0_0")).removesuffix("_0_0")
                threads[model] = len(list(Path(f"/proc/{pid}/task").iterdir()))
        log = server.log_file.read_text()
    # the calling thread is one of each kind
    assert threads["tuned"] - threads["plain"] == (4 - 1) + (2 - 1)
    assert "tuned version 1: CPUExecutionProvider, 4 intra-op and 2 inter-op threads, " in log
    assert "ORT_PARALLEL, ORT_ENABLE_BASIC" in log
    assert "plain version 1: CPUExecutionProvider, 1 intra-op and 0 inter-op threads, " in log
    assert "ORT_SEQUENTIAL, ORT_ENABLE_ALL" in log


@pytest.mark.parametrize(
    ("model", "change", "complaint"),
    [
        (add, {"dims": {"FIRST": [4]}}, "input 'FIRST' is tensor(float) [-1, 4] in config.pbtxt but"),
        (add, {"dims": {"SUM": [-1]}}, "output 'SUM' is tensor(float) [-1, -1] in config.pbtxt but"),
        (lookup, {"rename": ("WORD", "WORDS")}, "inputs are ['WORDS'] in config.pbtxt but ['WORD'] in"),
        (lookup, {"rename": ("TYPE_INT64", "TYPE_INT32")}, "output 'ROW' is tensor(int32)"),
    ],
)
def test_a_config_that_the_cpp_backend_would_refuse_is_refused(tmp_path, start, model, change, complaint):
    publish(tmp_path, "wrong", model(), dims=change.get("dims"))
    if rename := change.get("rename"):
        config = tmp_path / "wrong" / "config.pbtxt"
        config.write_text(config.read_text().replace(*rename))
    with pytest.raises(ServerFailed) as failure:
        start(tmp_path).start()
    assert f"model 'wrong': {complaint}" in str(failure.value)
