"""`visrec release` and `visrec rollback`: a running server switches, or stays with what it served."""

import contextlib
import json
import threading
import time

import numpy as np
import onnx
import pytest
import tritonclient.grpc as grpcclient
from dummy_graphs import encoder
from dummy_releases import release, requests, resign
from feeds import as_inputs

from visrec_serving import pins
from visrec_serving.canary_requests import CanaryRequests
from visrec_serving.errors import ReleaseRefused
from visrec_serving.lock import locked


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository whose first release is served; tests add releases, and switch."""
    folder = tmp_path_factory.mktemp("releases") / "models"
    release(folder)
    return folder


@pytest.fixture(scope="module")
def running(repository, start):
    with start(repository) as server:
        yield server


@pytest.fixture
def control(repository, running, visrec, capsys):
    """`visrec SUBCOMMAND` for this server: its exit code, and what it printed."""

    def control(subcommand, *words):
        code = visrec(subcommand, *words, "--repository", repository, "--url", running.grpc_url)
        said = capsys.readouterr()
        return code, said.out if code == 0 else said.err

    return control


class Callers:
    """Threads that go on asking, and what they got; each answer must be all of one release's."""

    def __init__(self, url, repository, numbers):
        self.url, self.stop, self.seen, self.wrong = url, threading.Event(), [], []
        self.expected = {n: CanaryRequests.load(repository / f"canary-{n}.npz") for n in numbers}
        self.inputs = as_inputs(self.expected[numbers[0]].inputs())
        inputs = self.expected[numbers[0]].inputs()
        zeros = {"ASPECTS": np.zeros((3, 8, 64), np.float32), "MAPS": np.zeros((3, 8, 49), np.float32)}
        self.bare = as_inputs(zeros | {name: inputs[name] for name in ("HISTORY", "TEXT")})

    def ask(self):
        with grpcclient.InferenceServerClient(self.url) as client:
            while not self.stop.is_set():
                try:
                    answer = client.infer("recommender", self.inputs)
                    client.infer("ranker", self.bare)
                except Exception as error:
                    self.wrong.append(str(error))
                    continue
                tensors = {name: answer.as_numpy(name) for name in ("ITEM_ID", "SCORE", "RELEASE")}
                number = int(tensors["RELEASE"][0, 0])
                self.seen.append(number)
                if fault := self.expected[number].fault(tensors, number):
                    self.wrong.append(fault)

    def go_on_until(self, holds):
        deadline = time.monotonic() + 30
        while not holds() and time.monotonic() < deadline:
            time.sleep(0.01)


@contextlib.contextmanager
def callers(url, repository, numbers, threads=4):
    asking = Callers(url, repository, numbers)
    running = [threading.Thread(target=asking.ask) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield asking
    finally:
        asking.stop.set()
        for thread in running:
            thread.join()


def answers(server, model="recommender"):
    """The release that answers."""
    asked = requests()
    inputs = {"IMAGE": asked.pictures, "HISTORY": asked.history, "TEXT": asked.text}
    with grpcclient.InferenceServerClient(server.grpc_url) as client:
        return int(client.infer(model, as_inputs(inputs)).as_numpy("RELEASE")[0, 0])


def is_ready(server):
    with grpcclient.InferenceServerClient(server.grpc_url) as client:
        return client.is_server_ready()


def becomes_ready(server):
    """Triton is not ready while it unloads, which takes a stub some seconds."""
    deadline = time.monotonic() + 30
    while not (ready := is_ready(server)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return ready


def test_a_release_is_switched_to_and_back_under_load(repository, running, control):
    numbers = [1, *(release(repository) for _ in range(3))]
    assert answers(running) == 1, "publishing switches nothing"
    with callers(running.grpc_url, repository, numbers) as asking:
        for number in numbers[1:]:
            code, said = control("release", number)
            assert code == 0 and said.endswith(f"release {number} is served\n")
            assert answers(running) == number
        assert control("rollback")[1].endswith("release 3 is served\n")
        assert control("rollback")[1].endswith("release 2 is served\n")
        assert control("release")[1].endswith("release 4 is served\n")
        asking.go_on_until(lambda: asking.seen[-1] == 4)
    assert not asking.wrong
    assert set(asking.seen) == {1, 2, 3, 4}
    ready = running.loaded()
    assert "canary" not in ready
    assert ready["recommender"] == ready["ranker"] == ready["embedder"] == [1]
    assert {2, 4} <= set(ready["encoder"]), "the release before stays, to go back to"
    with grpcclient.InferenceServerClient(running.grpc_url) as client:
        assert set(client.infer("ranker", asking.bare).as_numpy("RELEASE").ravel()) == {4}
    assert control("release", 4)[1] == "release 4 is served already\n"


def test_a_canary_of_before_raw_texts_says_what_to_do(tmp_path):
    release(tmp_path / "models")
    path = tmp_path / "models" / "canary-1.npz"
    with np.load(path) as arrays:
        hashes = np.zeros((3, 64), np.int64)
        np.savez_compressed(path, **{**arrays, "text": hashes})
    with pytest.raises(ReleaseRefused, match=r"takes hashes of words.*train and export again"):
        CanaryRequests.load(path)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-20])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def give_another_shape(path):
    onnx.save(encoder(width=495), path)


DAMAGE = {
    "truncated": (cut_short, False, "encoder/{0}/model.onnx is not what was exported (its SHA-256 differs)"),
    "a bit flipped": (flip_a_bit, False, "encoder/{0}/model.onnx is not what was exported"),
    "missing": (lambda path: path.unlink(), False, "encoder/{0}/model.onnx is missing"),
    "truncated, and signed": (cut_short, True, "encoder/{0} can't be loaded: "),
    "of another shape, and signed": (
        give_another_shape,
        True,
        "encoder/{0} has tensor(float) [49, 495] as output REGIONS, its config tensor(float) [49, 496]",
    ),
}


@pytest.mark.parametrize(("damage", "signed", "said"), DAMAGE.values(), ids=DAMAGE)
def test_a_broken_release_is_refused_and_the_old_one_goes_on(
    repository, running, control, damage, signed, said
):
    served, number = pins.served(repository), release(repository)
    damage(repository / "encoder" / str(number) / "model.onnx")
    if signed:
        resign(repository, number)
    before = pins.texts(repository)
    assert becomes_ready(running), "what was unloaded before is gone"
    with callers(running.grpc_url, repository, [served], threads=2) as asking:
        code, error = control("release", number)
    assert code == 1 and error.count("\n") == 1
    assert f"release {number} is refused, release {served} is still served: {said.format(number)}" in error
    assert not asking.wrong and asking.seen
    assert pins.texts(repository) == before
    assert is_ready(running), "who watches Triton's readiness keeps sending traffic"


def test_a_release_that_fails_its_canary_never_answers_anybody(repository, running, control):
    served, number = pins.served(repository), release(repository, claims=99)
    with callers(running.grpc_url, repository, [served], threads=2) as asking:
        code, error = control("release", number)
    assert code == 1 and "canary request 1: item-" in error and error.count("\n") == 1
    assert not asking.wrong
    assert set(asking.seen) == {served}
    ready = running.loaded()
    assert number not in ready["encoder"] and "canary" not in ready
    good = release(repository)
    assert control("release")[0] == 0
    assert answers(running) == good
    assert control("rollback")[1].endswith(f"release {served} is served\n"), "not the refused"


def test_one_release_at_a_time(repository, running, control):
    served, number = pins.served(repository), release(repository)
    with locked(repository, "release"):
        code, error = control("release", number)
    assert code == 1 and f"another release is at work on {repository}" in error
    assert answers(running) == served


def test_status_tells_what_is_served_and_what_could_be(repository, running, control):
    served, new, kept = pins.served(repository), release(repository), release(repository)
    control("release", new)
    code, said = control("status")
    *lines, server = said.splitlines()
    state = dict(line.split(": ", 1) for line in lines)
    assert code == 0
    assert state[f"release {served}"].startswith(
        "served before: `visrec rollback` goes back to it; 150 items, fp32, tiny, made 20"
    )
    assert state[f"release {new}"].startswith("served since 20")
    assert state[f"release {kept}"].startswith("kept; 150 items")
    assert server.startswith(f"server at {running.grpc_url}: answers with release {new}; loaded: attention ")


def test_what_was_released_is_served_after_a_restart(repository, running):
    served, number = pins.served(repository), release(repository)
    running.stop()
    running.start()
    assert answers(running) == served != number, "not the newest, which was never released"


def test_a_server_of_another_repository_is_told(running, tmp_path, visrec, capsys):
    other, served = tmp_path / "other", answers(running)
    for _ in range(50):
        number = release(other)
    words = ("--repository", other, "--url", running.grpc_url)
    assert visrec("release", *words) == 1
    assert "refuses this without its key" in capsys.readouterr().err
    assert visrec("release", *words, "--admin-key-file", running.config.repository / ".admin-key") == 1
    assert f"has no encoder {number}: does it serve {other}?" in capsys.readouterr().err
    assert pins.served(other) == 1 and answers(running) == served


def test_a_fused_recommender_is_switched_too(tmp_path, start, visrec, capsys):
    folder = tmp_path / "models"
    numbers = [release(folder, fused=True), release(folder, fused=True), release(folder)]
    with start(folder, model_config_name="fused") as server:
        words = ("--repository", folder, "--url", server.grpc_url)
        with callers(server.grpc_url, folder, numbers) as asking:
            assert visrec("release", 2, *words) == 0
            assert answers(server) == 2
            assert visrec("release", 3, *words) == 1
            assert "it has no fused graph, which this server serves" in capsys.readouterr().err
            assert visrec("rollback", *words) == 0
            assert answers(server) == 1
        assert not asking.wrong and set(asking.seen) == {1, 2}


@pytest.fixture
def fresh(tmp_path):
    """A repository of its own, which nobody serves."""
    release(tmp_path / "fresh")
    return tmp_path / "fresh"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("release", 7), "holds no release 7: `visrec status` lists them"),
        (("rollback",), "no release was served from"),
        (("release", "--admin-key-file", "none"), "can't read the key in none"),
        (("status", "--ca", "none.pem"), "there is no file none.pem"),
        (("status", "--private-key", "none.pem"), "--certificate goes with --private-key"),
        (("status", "--repository", "nowhere"), "no model repository at nowhere"),
    ],
)
def test_errors_are_one_line(fresh, visrec, capsys, words, said):
    subcommand, *rest = words
    assert visrec(subcommand, "--repository", fresh, "--url", "localhost:1", *rest) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_server_that_is_not_there_changes_nothing(fresh, visrec, capsys):
    release(fresh)
    before = pins.texts(fresh)
    assert visrec("release", "--repository", fresh, "--url", "localhost:1") == 1
    assert "no server answers at localhost:1" in capsys.readouterr().err
    assert pins.texts(fresh) == before


def test_a_report_names_every_file(fresh):
    digests = json.loads((fresh / "release-1.json").read_text())["digests"]
    files = {f"{model}/1/model.onnx" for model in pins.MODELS}
    assert set(digests) == {*files, "canary-1.npz"}
    assert all(digest.startswith("sha256:") for digest in digests.values())
