"""The health port of a server, asked whatever becomes of what it prints."""

import os
import re
import signal
import socket
import time
import urllib.request

from visrec_serving.process import children


def wait(what):
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Health:
    """The health port of a server whose ready line nobody sees."""

    def __init__(self):
        self.port = free_port()
        self.arguments = ["--health-port", str(self.port)]

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def ready(self):
        return self.get("/ready") == "ready\n"

    def metric(self, name):
        return float(re.search(rf"^{name} (\S+)$", self.get("/metrics"), re.MULTILINE)[1])


def survives_a_killed_stub(process, health, *, namespace=False):
    """Kill a process of a model: the supervisor tells an event, and mends."""
    wait(health.ready)
    (supervisor,) = children(process.pid) if namespace else [process.pid]
    (triton,) = children(supervisor)
    os.kill(min(children(triton)), signal.SIGKILL)
    wait(lambda: health.metric("visrec_reloads_total") == 1)
    wait(health.ready)
    assert process.poll() is None
