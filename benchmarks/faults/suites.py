"""Rows that tests show: each runs the real server, and is run again here."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree

from benchmarks.faults.rows import Row, Settings
from benchmarks.quality_figures import ROOT

from visrec_client.errors import VisrecError

BROKEN = ("tests/serving/test_release.py", "tests/export/test_export.py")
ACCESS = ("tests/serving/test_keys.py", "tests/serving/test_tls.py")
CLIENT = (
    "tests/serving/test_client_connections.py",
    "tests/serving/test_client_failover.py",
    "tests/serving/test_client_overload.py",
)


def broken(settings: Settings) -> Row:
    """Releases with a broken file, and a full disk."""
    return _row(
        "a truncated, bit-flipped or wrong-shape graph, a missing file, a full disk", BROKEN, settings
    )


def access(settings: Settings) -> Row:
    """Callers whom the server does not know."""
    return _row(
        "no key, a wrong key, no certificate, an expired one; control without its key", ACCESS, settings
    )


def client(settings: Settings) -> Row:
    """A client used in every way at once."""
    return _row(
        "64 threads, 500 calls of asyncio, a fork, a server restarted behind the client", CLIENT, settings
    )


def _row(fault: str, files: tuple[str, ...], settings: Settings) -> Row:
    report = settings.work / "pytest.xml"
    words = [sys.executable, "-m", "pytest", "-q", *files, f"--junitxml={report}"]
    with (settings.work / "pytest.log").open("wb") as log:
        subprocess.run(words, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603  (our own command)
    if not report.is_file():
        raise VisrecError(f"the tests did not run: see {log.name}")
    suite = next(ElementTree.parse(report).getroot().iter("testsuite")).attrib  # noqa: S314  (just written)
    failed = int(suite["failures"]) + int(suite["errors"])
    passed = int(suite["tests"]) - failed - int(suite["skipped"])
    return Row(
        fault=fault,
        done={"pytest": " ".join(files)},
        seen={"passed": passed, "failed": failed, "seconds": float(suite["time"])},
        holds={"as the tests say": failed == 0 and passed > 0},
    )
