"""A supervised server goes on answering whatever of it dies, and says how it is."""

import json
import os
import re
import shutil
import signal
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from dummy_releases import release, requests
from processes import gone

from visrec_serving import Server, ServerConfig, ServerFailed, stubs
from visrec_serving.process import children
from visrec_serving.supervisor import Supervisor, SupervisorConfig

OBSERVABILITY = Path(__file__).parents[2] / "serving" / "visrec_serving" / "observability"
METRIC = re.compile(r"\b(?:nv|visrec)_[a-z_]+")


def feeds():
    asked = requests()
    return {"IMAGE": asked.pictures, "HISTORY": asked.history, "TEXT": asked.text}


class Served:
    """A supervised server, watched by a thread, that tells what happened to it."""

    def __init__(self, repository, **options):
        ports = {"grpc_port": 0, "http_port": 0, "metrics_port": 0}
        self.server = Server(ServerConfig(repository=repository, **ports, **options))
        self.supervisor = Supervisor(self.server, SupervisorConfig(health_port=0))
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.supervisor.watch, args=[self.stop])

    def __enter__(self):
        self.supervisor.__enter__()
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stop.set()
        self.thread.join()
        self.supervisor.__exit__(*error)

    def get(self, path):
        try:
            with urllib.request.urlopen(self.supervisor.health_url + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name):
        return float(re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)[1])

    def wait(self, what):
        deadline = time.monotonic() + 60
        while not what():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def regions(self):
        """Its shared memory."""
        return {path.name for path in Path("/dev/shm").glob(f"{self.server._memory.prefix}*")}

    def stubs(self):
        return {stub.instance: pid for pid, stub in stubs.find(self.server.pid).items()}

    def is_settled(self):
        """Whether no process is left of a model that was loaded again."""
        return len(stubs.find(self.server.pid)) == len(self.stubs())


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("supervised") / "models"
    release(folder)
    return folder


@pytest.fixture(scope="module")
def served(repository):
    with Served(repository) as served:
        yield served


@pytest.mark.parametrize("instance", ["encoder_0_1", "attention_0_0", "fusion_scorer_0_0"])
def test_a_model_whose_process_is_killed_answers_again(served, instance, ask, capfd):
    served.wait(lambda: served.get("/ready") == (200, "ready\n"))
    served.wait(served.is_settled)
    before, mended = served.stubs(), served.metric("visrec_reloads_total")
    regions = len(served.regions())
    os.kill(before[instance], signal.SIGKILL)
    served.wait(lambda: served.get("/ready")[0] == 503)
    served.wait(lambda: served.metric("visrec_reloads_total") > mended)
    served.wait(lambda: served.get("/ready")[0] == 200)
    answers = ask(served.server, "recommender", *[feeds()] * 8)
    assert all(isinstance(answer, dict) for answer in answers)
    model = instance.rsplit("_", 2)[0]
    others = {name: pid for name, pid in before.items() if not name.startswith(model)}
    assert others.items() <= served.stubs().items(), "other models go on"
    served.wait(lambda: len(served.regions()) == regions)  # what it left is removed
    events = capfd.readouterr().out
    assert re.search(rf'event=stub_died stubs="{instance} of version 1"', events)
    assert re.search(rf'event=mended stubs="{instance} of version 1" seconds=[\d.]+ ready=True', events)


def test_triton_that_dies_is_started_again_where_it_was(served, ask, capfd):
    before, url = served.server.pid, served.server.grpc_url
    os.kill(before, signal.SIGKILL)
    served.wait(lambda: served.get("/ready")[0] == 503)
    assert served.get("/live") == (200, "alive\n")
    served.wait(lambda: served.get("/ready")[0] == 200)
    assert (served.server.grpc_url, served.metric("visrec_restarts_total")) == (url, 1)
    (answer,) = ask(served.server, "recommender", feeds())
    assert isinstance(answer, dict)
    events = capfd.readouterr().out
    assert re.search(
        r'event=restart number=1 pause_s=0.000 cause="Triton ended \(killed by SIGKILL\)', events
    )
    assert re.search(rf"event=restarted seconds=[\d.]+ pid={served.server.pid}", events)


def test_another_release_is_no_failure(served, repository, visrec, capfd):
    number = release(repository)
    assert visrec("release", "--repository", repository, "--url", served.server.grpc_url) == 0
    served.wait(lambda: f'visrec_release_info{{release="{number}"}} 1' in served.get("/metrics")[1])
    assert served.get("/ready")[0] == 200
    events = capfd.readouterr().out
    assert "stub_died" not in events and "canary_failed" not in events


def test_wrong_answers_are_not_ready_and_no_reason_to_start_again(tmp_path, capfd):
    release(tmp_path / "models", claims=7)  # its canary expects another release's answers
    with Served(tmp_path / "models") as served:
        status, said = served.get("/ready")
        assert status == 503
        assert re.fullmatch(r"canary: canary request 1: item-\d+ (should score|.*answer).*\n", said)
        assert served.get("/live")[0] == 200
        triton = served.server.pid
        served.wait(lambda: served.metric("visrec_canary_failures_total") > 3)
        assert served.server.pid == triton
    assert capfd.readouterr().out.count("event=canary_failed") == 1


def test_a_release_whose_canary_is_damaged_is_served_and_that_is_told(repository, tmp_path, capfd):
    shutil.copytree(repository, tmp_path / "models")
    for canary in (tmp_path / "models").glob("canary-*.npz"):
        canary.write_bytes(b"damaged")
    with Served(tmp_path / "models") as served:
        served.wait(lambda: served.get("/ready")[0] == 200)
    assert re.search(r"event=canary_unchecked release=\d+ cause=.*missing or damaged", capfd.readouterr().out)


def test_a_probe_that_does_not_wait_is_no_news(served, capfd):
    host, port = served.supervisor.health_url.split("//")[1].split(":")
    for _ in range(3):
        with socket.create_connection((host, int(port))) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # resets
            probe.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    assert served.get("/live")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_model_that_cannot_be_served_is_told_at_once(repository, tmp_path, capfd):
    shutil.copytree(repository, tmp_path / "models")
    (tmp_path / "models" / "encoder" / "1" / "model.onnx").write_bytes(b"not ONNX")
    with pytest.raises(ServerFailed, match="model 'encoder'"):
        Served(tmp_path / "models").__enter__()
    assert "event=restart" not in capfd.readouterr().out


def test_what_a_killed_server_left_is_removed_and_nothing_else(served, serve):
    ours = served.regions()
    process = serve()
    assert "ready" in process.stdout.readline()
    (triton,) = children(process.pid)
    command = Path(f"/proc/{triton}/cmdline").read_text()
    prefix = re.search(r"shm-region-prefix-name=(\w+)", command)[1]
    orphans = children(triton)
    os.kill(triton, signal.SIGSTOP)  # it can't tidy up
    process.kill()
    os.kill(triton, signal.SIGKILL)
    assert all(map(gone, [triton, *orphans]))
    assert list(Path("/dev/shm").glob(f"{prefix}*"))
    other = serve()
    assert "ready" in other.stdout.readline()
    assert not list(Path("/dev/shm").glob(f"{prefix}*"))
    assert served.regions() == ours


@pytest.mark.parametrize("file", ["alerts.yml", "dashboard.json"])
def test_every_metric_that_is_named_exists(served, file):
    told = set(re.findall(r"^# TYPE (\w+)", served.get("/metrics")[1], re.MULTILINE))
    named = set(METRIC.findall((OBSERVABILITY / file).read_text()))
    assert named and named <= told


def test_the_dashboard_is_one():
    dashboard = json.loads((OBSERVABILITY / "dashboard.json").read_text())
    assert all(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.mark.parametrize(("field", "value"), [("health_port", 70000), ("restarts", -1)])
def test_a_config_names_the_field_that_is_wrong(field, value):
    with pytest.raises(ValueError, match=f"{field}={value}: must be"):
        SupervisorConfig(**{field: value})
