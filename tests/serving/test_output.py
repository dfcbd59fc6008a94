"""What can't be told never ends the work, nor holds it up, and is told where it still can be."""

import json
import os
import re
import select
import signal
import subprocess
import sys

import pytest
from dummy_releases import release
from health import survives_a_killed_stub

from visrec_serving import Server, ServerConfig, pins

VISREC = [sys.executable, "-m", "visrec_cli.main"]


def gone_reader():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def full_disk():
    return os.open("/dev/full", os.O_WRONLY)


def sleeping_reader():
    """A full pipe, whose reader lives and does not read."""
    _reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while select.select([], [writer], [], 0)[1]:
        os.write(writer, b"." * select.PIPE_BUF)
    os.set_blocking(writer, True)
    return writer


@pytest.mark.parametrize("broken", [gone_reader, full_disk, sleeping_reader])
def test_a_server_goes_on_whatever_becomes_of_its_stdout(serve, health, tmp_path, broken):
    log = ["--log-file", str(tmp_path / "log")]
    process = serve(*log, *health.arguments, stdout=broken())
    survives_a_killed_stub(process, health)
    assert health.metric("visrec_events_dropped_total") >= 3  # ready, stub_died, mended
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    (line,) = (tmp_path / "stderr").read_text().splitlines()
    assert re.fullmatch(r"visrec: warning: stdout can't be written \(.+\): what is said there is lost", line)


@pytest.mark.parametrize("broken", [gone_reader, full_disk, sleeping_reader])
def test_a_server_goes_on_whatever_becomes_of_its_stderr(serve, health, broken):
    process = serve(*health.arguments, stderr=broken())  # where Triton's log goes
    survives_a_killed_stub(process, health)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert told.count("visrec: warning: stderr can't be written") == 1
    assert "event=mended" in told


def test_a_server_starts_without_any_stream(serve, health, tmp_path):
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    process = serve(*health.arguments, "--log-file", str(tmp_path / "log"), before=closed)
    survives_a_killed_stub(process, health)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A server of releases, and their repository."""
    repository = tmp_path_factory.mktemp("released") / "models"
    release(repository)
    ports = {"grpc_port": 0, "http_port": 0, "metrics_port": 0}
    with Server(ServerConfig(repository=repository, **ports)) as server:
        yield server


def run(*words, **options):
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run([*VISREC, *map(str, words)], timeout=60, **{**streams, **options})


def where(server):
    return "--repository", server.config.repository, "--url", server.grpc_url


@pytest.mark.parametrize("broken", [gone_reader, full_disk])
def test_a_release_is_not_cut_short_by_what_it_prints(released, broken):
    number = release(released.config.repository)
    done = run("release", *where(released), stdout=broken())
    assert done.returncode == 0
    assert done.stderr.startswith(b"visrec: warning: stdout can't be written")
    assert done.stderr.count(b"\n") == 1
    assert pins.served(released.config.repository) == number


def test_a_result_that_its_reader_has_seen_enough_of_ends_quietly(released):
    done = run("status", *where(released), stdout=gone_reader())
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_a_result_that_could_not_be_written_is_an_error(released):
    done = run("status", *where(released), stdout=full_disk())
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        b"visrec: error: stdout can't be written (no space left on device)"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_result_waits_for_a_slow_reader_until_it_is_stopped(released, number):
    process = subprocess.Popen(
        [*VISREC, "status", *map(str, where(released))], stdout=sleeping_reader(), stderr=subprocess.PIPE
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    process.send_signal(number)
    assert process.communicate(timeout=10)[1].endswith(b"visrec: stopped\n")
    assert process.returncode == 130


def test_help_ends_quietly_where_nobody_reads_it():
    done = run("--help", stdout=gone_reader())
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("text", "told", "understood", "popular"),
    [
        ("red", b"", 1.0, False),
        ("zzzz", b"nothing of the request is known: these are popular items\n", 0.0, True),
        ("", b"", None, True),
    ],
)
def test_a_text_that_is_not_understood_is_told(released, text, told, understood, popular):
    done = run("recommend", "--url", released.grpc_url, "--text", text, "--json")
    assert (done.returncode, done.stderr) == (0, told)
    answer = json.loads(done.stdout)
    assert (answer["understood"], answer["popular"]) == (understood, popular)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_characters_that_the_stream_lacks_are_escaped(released, tmp_path, environment):
    items = tmp_path / "items.csv"
    items.write_text(
        "item_id,title\n" + "".join(f"item-{n},\u9752\u3044\u9774 é\n" for n in range(150)), "utf-8"
    )
    words = ("recommend", "--url", released.grpc_url, "--k", "1", "--items", items, "--history", "item-1")
    done = run(*words, env={**os.environ, **environment})
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\u9752\u3044\u9774" in done.stdout
