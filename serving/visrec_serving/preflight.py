"""What a machine needs before Triton is started; what it lacks is told in a line, with what to do."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from pathlib import Path

from visrec_serving.errors import ServerFailed
from visrec_serving.events import tell
from visrec_serving.installation import Installation
from visrec_serving.shared_memory import FOLDER
from visrec_serving.shared_memory_need import Need

MIB = 2**20
LEAST_FILES = 256
"""Triton holds 130 with two releases; the rest is for callers."""
FEW_FILES = 1024
"""Fewer are raised, without a word above it: it is what most systems give."""
MANY_FILES = 65536
HARD_CODED = Path("/tmp")  # noqa: S108
LOG = 16 * MIB
"""Room for Triton's log."""


def check_installation(installation: Installation) -> None:
    """Check that the paths of Triton's parts can be handed on.

    Raises:
        ServerFailed: they can't.
    """
    for folder in (installation.binary.parent, installation.libraries, installation.python):
        if {":", ";"} & set(str(folder)):
            raise ServerFailed(
                f"visrec is installed in {folder}, and for the system's loader a path ends at ':' and ';': "
                "install it in a folder without them"
            )


def raise_open_files() -> None:
    """Let Triton open as many files and connections as it may.

    Raises:
        ServerFailed: that is too few.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= FEW_FILES:
        return
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if wanted < LEAST_FILES:
        raise ServerFailed(
            f"this process may open {wanted} files, and Triton needs {LEAST_FILES}: raise the limit "
            "(ulimit -n, LimitNOFILE= of systemd, docker run --ulimit nofile=65536)"
        )
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        tell("open_files_raised", before=soft, now=wanted)


def scratch_parent(installation: Installation) -> Path:
    """Find the folder for temporary files, and check that Triton's parts can be copied there and run.

    Raises:
        ServerFailed: there is none, or they can't.
    """
    named = next(filter(None, map(os.environ.get, ("TMPDIR", "TEMP", "TMP"))), None)
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise ServerFailed(
            "no folder for temporary files can be written: name one with TMPDIR "
            "(docker run --read-only: add --tmpfs /tmp:exec)"
        ) from error
    if named and folder.resolve() != Path(named).resolve():  # Python would quietly take another one
        raise ServerFailed(f"TMPDIR={named} is no folder that can be written: make it one or name another")
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        raise ServerFailed(
            f"{folder} is mounted noexec, and Triton runs a program from there: name another folder with "
            "TMPDIR, or mount it with exec (docker run --tmpfs /tmp:exec)"
        )
    if not os.access(HARD_CODED, os.W_OK | os.X_OK):
        raise ServerFailed(
            f"{HARD_CODED} can't be written, and Triton's Python backend makes a folder there, whatever "
            "TMPDIR says: mount one (docker run --tmpfs /tmp)"
        )
    need, free = installation.copied_bytes() + LOG, shutil.disk_usage(folder).free
    if free < need:
        raise ServerFailed(
            f"{folder} has {free / MIB:.0f} MiB free, and Triton needs {need / MIB:.0f}: make room or name "
            "another folder with TMPDIR"
        )
    return folder


def check_shared_memory(need: Need) -> None:
    """Check that a release can be switched.

    Triton itself crashes where this memory ends.

    Raises:
        ServerFailed: it can't.
    """
    free = free_shared_memory()
    if free < need.total:
        raise ServerFailed(
            f"{FOLDER} has {free / MIB:.0f} MiB free, and these models need up to "
            f"{need.total / MIB:.0f}: make it larger (docker run --shm-size={2 * need.total // MIB}m), or "
            "serve with fewer instances or smaller batches"
        )


def free_shared_memory() -> int:
    """Bytes that are left for the Python backend."""
    return shutil.disk_usage(FOLDER).free
