"""The embedded Triton starts when it can, says why when it can't, and leaves nothing behind."""

import signal
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from dummy_graphs import add, publish

from visrec_serving import Server, ServerConfig, ServerFailed
from visrec_serving.errors import TritonCrashed


def failure(server):
    """Start a server that can't; its one line."""
    with pytest.raises(ServerFailed) as raised:
        server.start()
    message = str(raised.value)
    assert "\n" not in message
    assert server.pid is None
    return message


@pytest.mark.parametrize(
    ("logged", "is_crash"),
    [
        ("E1127 12:00:00 load failed for model 'encoder': unable to load it\n", False),
        ("I1127 12:00:00 Started GRPCInferenceService\n", True),
    ],
)
def test_a_triton_that_crashed_after_it_refused_a_model_has_refused_it(tmp_path, logged, is_crash):
    (tmp_path / "log").write_text(logged)
    server = Server(ServerConfig(repository=tmp_path, log_file=tmp_path / "log"))
    assert isinstance(server._start_failure(-signal.SIGSEGV), TritonCrashed) == is_crash


def test_a_started_server_is_ready_for_every_model(server):
    with grpcclient.InferenceServerClient(server.grpc_url) as client:
        assert client.is_server_ready()
        assert all(client.is_model_ready(name) for name in ("add", "lookup", "pick", "slow"))
    assert server.loaded() == {"add": [1], "lookup": [1], "pick": [1], "slow": [1]}
    server.check()


def test_it_listens_on_loopback_only(server):
    listening = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if line.split()[3] == "0A":  # listens
                listening[int(port, 16)] = address
    ipv4, ipv4_in_ipv6 = "0100007F", "0000000000000000FFFF00000100007F"
    assert {listening[port] for port in server.ports.values()} <= {ipv4, ipv4_in_ipv6}


def test_two_servers_run_side_by_side_and_leave_nothing_behind(server, repository, start, ask, tmp_path):
    folders = set(Path(server.log_file.parent).glob("visrec-triton-*"))
    with start(repository, models=("add",)) as other:
        shared = other._memory.prefix
        assert list(Path("/dev/shm").glob(f"{shared}*"))
        assert other.loaded() == {"add": [1]}
        feeds = {name: np.ones((1, 3), np.float32) for name in ("FIRST", "SECOND")}
        assert [ask(s, "add", feeds)[0]["SUM"].sum() for s in (server, other)] == [6, 6]
    assert other.pid is None
    assert not list(Path("/dev/shm").glob(f"{shared}*"))
    left = set(Path(server.log_file.parent).glob("visrec-triton-*"))
    assert left <= folders, "what others left may be gone as well"
    other.stop()  # again, and harmless


def test_a_stopped_server_starts_again_and_appends_to_its_log(repository, start, tmp_path):
    log = tmp_path / "triton.log"
    server = start(repository, models=("add",), log_file=log)
    for _ in range(2):
        with server:
            assert server.pid
    assert log.read_text().count("Started GRPCInferenceService") == 2


def test_a_missing_repository(start, tmp_path):
    assert f"no model repository at {tmp_path / 'nowhere'}" in failure(start(tmp_path / "nowhere"))
    assert "no models in" in failure(start(tmp_path))


def test_models_without_versions(start, tmp_path):
    publish(tmp_path, "add", add())
    (tmp_path / "add" / "1").rename(tmp_path / "add" / "latest")
    assert f"no versions of add in {tmp_path}: run `visrec export` first" in failure(start(tmp_path))


def test_a_model_that_is_not_there(start, repository):
    message = failure(start(repository, models=("add", "divide")))
    assert f"no model divide in {repository}: it has add, lookup, pick, slow" in message


@pytest.mark.parametrize("purpose", ["grpc", "http", "metrics"])
def test_a_port_in_use(start, repository, purpose):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = failure(start(repository, **{f"{purpose}_port": port}))
    assert f"can't listen on 127.0.0.1:{port}: address already in use" in message
    assert f"--{purpose}-port" in message


def test_a_broken_model_is_named_and_the_log_is_kept(start, tmp_path):
    publish(tmp_path, "fine", add())
    publish(tmp_path, "broken", add())
    (tmp_path / "broken" / "1" / "model.onnx").write_bytes(b"not ONNX")
    server = start(tmp_path)
    message = failure(server)
    assert "model 'broken': unable to load '" in message
    assert "INVALID_PROTOBUF" in message
    assert message.endswith(f"full log: {server.log_file}")
    assert "INVALID_PROTOBUF" in server.log_file.read_text()
    server.log_file.unlink()


def test_a_config_with_a_typing_error_is_told_with_its_line(start, tmp_path):
    publish(tmp_path, "typo", add(), config="instance_gruop [ {} ]")
    message = failure(start(tmp_path, log_file=tmp_path / "log"))
    assert "model 'typo': failed to read text proto" in message
    assert 'no field named "instance_gruop"' in message


def test_an_ensemble_that_needs_an_absent_version(start, committed, tmp_path):
    config = committed / "recommender" / "config.pbtxt"
    original = config.read_text()
    config.write_text(original.replace("model_version: 1", "model_version: 7"))
    try:
        message = failure(start(committed, models=("recommender",), log_file=tmp_path / "log"))
    finally:
        config.write_text(original)
    assert "model 'recommender': ensemble 'recommender' depends on" in message
    assert "required version 7 is not loaded" in message


def test_not_ready_in_time(start, repository, tmp_path):
    message = failure(start(repository, ready_timeout=0.01, log_file=tmp_path / "log"))
    assert "Triton was not ready after 0.01 s" in message


def test_numpy_2_is_refused_before_it_can_do_harm(start, repository, tmp_path, monkeypatch):
    metadata = tmp_path / "numpy-2.1.3.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 2.1.3\n")
    monkeypatch.syspath_prepend(tmp_path)
    message = failure(start(repository))
    assert message == (
        "numpy 2.1.3 is installed but the embedded Triton needs numpy<2: pip install 'numpy<2'"
    )


def test_without_nvidia_pytriton_it_tells_what_to_install(start, repository, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytriton", None)  # as if it could not be imported
    assert "nvidia-pytriton, which carries Triton, is missing: pip install 'visrec[serve]'" in failure(
        start(repository)
    )


def test_a_log_that_cannot_be_written(start, repository, tmp_path):
    assert "can't write the log to" in failure(start(repository, log_file=tmp_path / "no" / "log"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("address", "localhost"), ("grpc_port", 70000), ("ready_timeout", 0), ("exit_timeout", -1)],
)
def test_a_config_names_the_field_that_is_wrong(field, value):
    with pytest.raises(ValueError, match=f"{field}={value!r}: must be"):
        ServerConfig(repository=Path(), **{field: value})


def test_one_port_cannot_serve_two_purposes():
    with pytest.raises(ValueError, match="must have a port each"):
        Server(ServerConfig(repository=Path(), grpc_port=8000, http_port=8000))
