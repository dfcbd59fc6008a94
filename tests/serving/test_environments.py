"""A server runs in surroundings that are not a developer's, or says at once what they lack."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from dummy_graphs import add, publish
from dummy_releases import release
from health import survives_a_killed_stub, wait
from processes import gone

from visrec_serving import ServerFailed
from visrec_serving.model_control import Access, ModelControl
from visrec_serving.process import children

ODD = 'it\'s; "$HOME" `id` * \n \u9752'


def can_unshare():
    command = ["unshare", "-m", "-p", "-f", "--mount-proc", "true"]
    return (
        shutil.which("unshare") and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


namespaces = pytest.mark.skipif(not can_unshare(), reason="needs to be root, and unshare")


def namespace(*steps):
    """Words that run a command as process 1, once the mounts are as the steps make them."""
    script = "; ".join(["set -e", *steps, 'exec "$@"'])
    return ["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", script, "sh"]


def shell(line):
    """Words that run a command after a line of shell."""
    return ["sh", "-c", f'{line}; exec "$@"', "sh"]


def refusal(process, tmp_path):
    """The one line of a server that does not start."""
    assert process.wait(timeout=30) == 1
    (line,) = (tmp_path / "stderr").read_text().splitlines()
    return line


def left_behind(folder):
    return [*folder.glob("visrec-triton-*"), *Path("/dev/shm").glob(".visrec_*")]


def shared_memory_of(process):
    """What names of a server's shared memory start with; other servers may run beside it."""
    children = psutil.Process(process.pid).children(recursive=True)
    # a stub that was killed has no words any more
    words = [word for each in children for word in each.as_dict(["cmdline"], ad_value=[])["cmdline"]]
    (prefix,) = set(re.findall(r"visrec_[0-9a-f]{12}_", " ".join(words)))
    return prefix


def test_paths_may_hold_any_character(serve, health, tmp_path):
    odd, temporary = tmp_path / ODD, tmp_path / os.fsdecode(ODD.encode() + b"\xff")
    odd.mkdir()
    temporary.mkdir()
    release(odd / "models")
    environment = {**os.environ, "TMPDIR": str(temporary), "http_proxy": "http://127.0.0.1:9"}
    log = ["--log-file", str(odd / "log"), "--repository", str(odd / "models")]
    process = serve(*log, *health.arguments, env=environment)
    survives_a_killed_stub(process, health)
    shared = shared_memory_of(process)
    assert list(Path("/dev/shm").glob(f"{shared}*"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert not left_behind(temporary)
    assert not list(Path("/dev/shm").glob(f"{shared}*"))
    assert (tmp_path / "stderr").read_text() == ""


def test_a_repository_that_onnx_runtime_cannot_open_is_refused(serve, tmp_path):
    repository = tmp_path / os.fsdecode(b"\xff")
    publish(repository, "add", add())
    line = refusal(serve("--repository", str(repository)), tmp_path)
    assert line.endswith(r"\udcff is not UTF-8, so ONNX Runtime can't open it: rename it")


def test_an_installation_that_the_loader_cannot_find_is_refused(serve, tmp_path):
    elsewhere = tmp_path / "a;b"
    elsewhere.symlink_to(sys.prefix)
    python = elsewhere / "bin" / Path(sys.executable).name
    line = refusal(serve(before=["sh", "-c", f'shift; exec "{python}" "$@"', "sh"]), tmp_path)
    assert f"visrec is installed in {elsewhere}" in line and "install it in a folder without them" in line


def test_a_broken_model_is_named_by_its_own_path(start, tmp_path):
    repository = tmp_path / "my models"
    publish(repository, "broken", add())
    graph = repository / "broken" / "1" / "model.onnx"
    graph.write_bytes(b"not ONNX")
    with pytest.raises(ServerFailed, match=re.escape(f"unable to load '{graph}'")):
        start(repository, log_file=tmp_path / "log").start()


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_tmpdir_that_cannot_be_used_is_refused(serve, tmp_path, name):
    (tmp_path / "file").touch()
    folder = tmp_path / name
    line = refusal(serve(env={**os.environ, "TMPDIR": str(folder)}), tmp_path)
    assert line == (
        f"visrec: error: TMPDIR={folder} is no folder that can be written: make it one or name another"
    )


@namespaces
def test_a_tmpdir_where_nothing_can_be_run_is_refused(serve, tmp_path):
    folder = tmp_path / "noexec"
    folder.mkdir()
    before = namespace(f"mount -t tmpfs -o noexec tmpfs '{folder}'")
    line = refusal(serve(before=before, env={**os.environ, "TMPDIR": str(folder)}), tmp_path)
    assert f"{folder} is mounted noexec, and Triton runs a program from there" in line


@namespaces
def test_a_full_disk_is_told_before_anything_is_started(serve, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    before = namespace(f"mount -t tmpfs -o size=8m tmpfs '{folder}'")
    line = refusal(serve(before=before, env={**os.environ, "TMPDIR": str(folder)}), tmp_path)
    assert re.search(r"small has 8 MiB free, and Triton needs \d+: make room or name another folder", line)


def test_a_log_that_cannot_be_written_is_told_and_ends_nothing(serve):
    process = serve("--log-file", "/dev/full")
    assert "event=log_lost file=/dev/full" in process.stdout.readline()
    assert "ready" in process.stdout.readline()


def test_few_open_files_are_raised_as_far_as_they_may(serve):
    process = serve(before=shell("ulimit -S -n 64"))
    assert re.search(r"event=open_files_raised before=64 now=\d+", process.stdout.readline())
    assert "ready" in process.stdout.readline()


def test_too_few_open_files_are_refused(serve, tmp_path):
    line = refusal(serve(before=shell("ulimit -n 64")), tmp_path)
    assert "this process may open 64 files, and Triton needs 256: raise the limit" in line


def test_a_closed_terminal_ends_it_and_nothing_is_left(serve, tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = serve(env={**os.environ, "TMPDIR": str(temporary)})
    assert "ready" in process.stdout.readline()
    (triton,) = children(process.pid)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) == 0
    assert gone(triton)
    assert not left_behind(temporary)


def test_nohup_has_it_outlive_its_terminal(serve, health):
    process = serve(*health.arguments, before=["nohup"])
    wait(health.ready)
    process.send_signal(signal.SIGHUP)
    survives_a_killed_stub(process, health)


@namespaces
def test_process_1_leaves_no_zombies(serve, health):
    process = serve(*health.arguments, before=namespace())
    wait(health.ready)
    (first,) = children(process.pid)
    for count in (1, 2):
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(first)}
        (triton,) = (pid for pid, command in commands.items() if b"bin/tritonserver" in command)
        os.kill(triton, signal.SIGKILL)
        wait(lambda count=count: health.metric("visrec_restarts_total") == count)
    wait(lambda: len(children(first)) == 1)


@namespaces
@pytest.mark.parametrize(("megabytes", "releases"), [(64, 0), (128, 3)])
def test_a_container_with_little_shared_memory_serves(serve, health, tmp_path, visrec, megabytes, releases):
    repository = tmp_path / "models"
    release(repository)
    inside = namespace(
        f"mount -t tmpfs -o size={megabytes}m,noexec tmpfs /dev/shm",
        "mount --bind /tmp /tmp",  # stays writable, as the repository does
        f"mount --bind '{tmp_path}' '{tmp_path}'",
        "mount -o remount,bind,ro /",
        f"unset HOME; export TMPDIR='{tmp_path}'",
    )
    process = serve("--repository", str(repository), *health.arguments, before=inside)
    url = re.search(r"gRPC (\S+),", process.stdout.readline())[1]
    survives_a_killed_stub(process, health, namespace=True)
    for _ in range(releases):
        number = release(repository)
        assert visrec("release", "--repository", repository, "--url", url) == 0
        wait(lambda number=number: f'visrec_release_info{{release="{number}"}} 1' in health.get("/metrics"))
    assert health.metric("visrec_restarts_total") == 0


@namespaces
def test_too_little_shared_memory_is_told_with_how_much_is_needed(serve, tmp_path):
    release(tmp_path / "models")
    before = namespace("mount -t tmpfs -o size=32m tmpfs /dev/shm")
    line = refusal(serve("--repository", str(tmp_path / "models"), before=before), tmp_path)
    assert re.search(r"/dev/shm has 32 MiB free, and these models need up to 63: ", line)


@pytest.mark.parametrize("home", [{}, {"HOME": "/"}, {"HOME": "/nowhere"}])
@pytest.mark.parametrize("command", ["serve", "release", "rollback", "status", "recommend"])
def test_no_home_is_needed(command, home):
    environment = {name: value for name, value in os.environ.items() if name != "HOME"} | home
    stranger = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"] if os.getuid() == 0 else []
    words = [*stranger, sys.executable, "-m", "visrec_cli.main", command, "--help"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: visrec {command}")
    assert "visrec" not in done.stderr  # onnxruntime may complain that it can't keep its own file


def test_control_of_a_local_server_never_goes_through_a_proxy(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    access = Access(url=server.grpc_url, admin_key=server.keys.admin)
    with ModelControl(access) as control:
        assert "add" in control.versions()
