"""`visrec serve` in the foreground: one line when ready, and a clean end whatever ends it."""

import os
import queue
import re
import signal
import time

import numpy as np
import tritonclient.grpc as grpcclient
from processes import gone

from visrec_serving.process import children


def grpc_url(line):
    return re.search(r"gRPC (\S+),", line)[1]


def test_a_sigterm_lets_a_request_in_flight_finish(serve, tmp_path):
    process = serve()
    line = process.stdout.readline()
    assert re.fullmatch(
        r"visrec: ready: gRPC 127\.0\.0\.1:\d+, HTTP http://127\.0\.0\.1:\d+, "
        r"metrics http://127\.0\.0\.1:\d+/metrics, "
        r"health http://127\.0\.0\.1:\d+; loaded: add 1, lookup 1, pick 1, slow 1\n",
        line,
    )
    answers = queue.Queue()
    with grpcclient.InferenceServerClient(grpc_url(line)) as client:
        count = grpcclient.InferInput("COUNT", [1, 1], "INT64")
        count.set_data_from_numpy(np.array([[20000]]))
        client.async_infer("slow", [count], lambda result, error: answers.put((result, error)))
        time.sleep(0.3)
        assert answers.empty()  # still computing
        process.send_signal(signal.SIGTERM)
        result, error = answers.get(timeout=60)
    assert error is None
    assert result.as_numpy("DONE") == 192
    assert process.wait(timeout=30) == 0
    stderr = (tmp_path / "stderr").read_text()
    assert "Started GRPCInferenceService" in stderr  # Triton's log
    assert "Traceback" not in stderr


def test_a_second_signal_does_not_wait_for_requests(serve, tmp_path):
    process = serve("--log-file", str(tmp_path / "log"))
    line = process.stdout.readline()
    (triton,) = children(process.pid)
    answers = queue.Queue()
    with grpcclient.InferenceServerClient(grpc_url(line)) as client:
        count = grpcclient.InferInput("COUNT", [1, 1], "INT64")
        count.set_data_from_numpy(np.array([[10**9]]))  # would take a day
        client.async_infer("slow", [count], lambda result, error: answers.put((result, error)))
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert "event=stopping" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 130
        assert gone(triton)
        assert answers.get(timeout=20)[1] is not None
    assert (tmp_path / "stderr").read_text() == "visrec: stopped\n"


def test_ctrl_c_ends_it_and_the_log_goes_to_a_file(serve, tmp_path):
    process = serve("--log-file", str(tmp_path / "log"))
    assert "ready" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert "Started GRPCInferenceService" in (tmp_path / "log").read_text()
    assert (tmp_path / "stderr").read_text() == ""


def test_it_says_so_when_triton_dies_once_too_often(serve, tmp_path):
    process = serve("--log-file", str(tmp_path / "log"), "--restarts", "0")
    assert "ready" in process.stdout.readline()
    (triton,) = children(process.pid)
    os.kill(triton, signal.SIGKILL)
    assert process.wait(timeout=30) == 1
    assert (tmp_path / "stderr").read_text() == (
        f"visrec: error: Triton ended (killed by SIGKILL); its log: {tmp_path / 'log'}; "
        "gave up after 0 restarts within 5 minutes\n"
    )


def test_triton_does_not_outlive_a_killed_parent(serve, tmp_path):
    process = serve("--log-file", str(tmp_path / "log"))
    assert "ready" in process.stdout.readline()
    (triton,) = children(process.pid)
    process.kill()
    assert gone(triton)


def test_a_sigterm_while_models_load_leaves_no_process_behind(serve, tmp_path):
    process = serve("--log-file", str(tmp_path / "log"))
    log = tmp_path / "log"
    while not (log.exists() and "intra-op" in log.read_text()):  # the first model of four
        time.sleep(0.01)
    stubs = [stub for triton in children(process.pid) for stub in children(triton)]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) in (0, 130)  # the others may be as quick as the signal
    assert all(map(gone, stubs))
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def test_what_is_wrong_is_one_line_and_exit_code_1(serve, tmp_path):
    process = serve("--address", "everywhere")
    assert process.wait(timeout=30) == 1
    assert process.stdout.read() == ""
    assert (tmp_path / "stderr").read_text() == (
        "visrec: error: address='everywhere': must be an IPv4 address such as 127.0.0.1\n"
    )
