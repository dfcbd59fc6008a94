"""A program that does not outlive the process that started it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

# The kernel sends SIGTERM when the starter ends. A Python of its own asks for that, because code between fork
# and exec (`preexec_fn`) can deadlock where threads run. It gets the command through a pipe: command
# lines can be read by all the machine.
_TIE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG, SIGTERM
if os.getppid() != int(sys.argv[1]):
    sys.exit("the starter has ended")
command = sys.stdin.buffer.read().split(bytes(1))
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.execv(command[0], command)
"""
_started: set[int] = set()  # process ids of those that were started here and not waited for yet


def start(
    command: list[str], environment: dict[str, str], log: Path, inherited: int
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own, where Ctrl-C does not reach it.

    Args:
        command: absolute path of the program, then its arguments.
        environment: its environment variables.
        log: file to which its output is appended.
        inherited: a file descriptor that it keeps open.

    Returns:
        The running process.
    """
    tied = [sys.executable, "-I", "-S", "-c", _TIE, str(os.getpid())]
    started: Future[subprocess.Popen[bytes]] = Future()

    def keep() -> None:
        # "The starter" is a thread to the kernel: this one lives exactly as long as the program.
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(  # noqa: S603  (our own command)
                    tied,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=[inherited],
                )
                assert process.stdin  # noqa: S101  (for the type checker)
                with contextlib.suppress(BrokenPipeError), process.stdin as stdin:  # it has ended
                    stdin.write(b"\0".join(map(os.fsencode, command)))
        except OSError as error:
            started.set_exception(error)
            return
        _started.add(process.pid)
        started.set_result(process)
        process.wait()
        _started.discard(process.pid)

    threading.Thread(target=keep, name="triton", daemon=True).start()
    return started.result()


def end(process: subprocess.Popen[bytes], patience: float) -> None:
    """Ask a program to end (SIGTERM); if it has not after a while, end it (SIGKILL). No child outlives it.

    Args:
        process: from `start`.
        patience: seconds to wait.
    """
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    finally:  # also where whoever waits has no more patience
        process.kill()
        process.wait()
        with contextlib.suppress(ProcessLookupError):  # the usual case: its children ended with it
            os.killpg(process.pid, signal.SIGKILL)


def reap_orphans() -> None:
    """Wait for processes that ended and were not started here: process 1 is given those of dead parents.

    Must not run while this process starts another one.
    """
    for pid in children(os.getpid()) - _started:
        with contextlib.suppress(ChildProcessError):  # somebody waited for it
            os.waitpid(pid, os.WNOHANG)


def children(pid: int) -> set[int]:
    """Process ids of a process's children, those that ended and were not waited for among them.

    They are found by their parent: the lists of a parent's threads miss a child whose thread has just ended.
    """
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            if int(entry.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.add(int(entry.parent.name))
    return found


def describe_exit(code: int) -> str:
    """Say in words how a process ended, from its return code."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
