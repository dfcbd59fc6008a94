import queue
import subprocess
import sys
import tempfile

import onnxruntime
import pytest
import tritonclient.grpc as grpcclient
from dummy_graphs import add, committed_repository, lookup, parameter, pick, publish, slow
from feeds import as_inputs, as_str
from health import Health

from visrec_serving import Server, ServerConfig

SINGLE_THREAD = parameter("intra_op_thread_count", 1)
BATCHING = "dynamic_batching { max_queue_delay_microseconds: 100000 }\n" + SINGLE_THREAD


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory):
    """Keep what servers write, and leave when they are killed, in pytest's own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        patch.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """Tiny models, each for one behaviour of the backend."""
    folder = tmp_path_factory.mktemp("repository")
    publish(folder, "add", add(), config=BATCHING)
    publish(folder, "lookup", lookup(), config=BATCHING)
    publish(folder, "pick", pick(), config=BATCHING)
    publish(folder, "slow", slow(), config=SINGLE_THREAD)
    return folder


@pytest.fixture(scope="session")
def start():
    """Start a server on free ports; stopped by the caller's `with`."""

    def start(repository, **options):
        options = {"grpc_port": 0, "http_port": 0, "metrics_port": 0, **options}
        return Server(ServerConfig(repository=repository, **options))

    return start


@pytest.fixture
def serve(repository, tmp_path):
    """Run `visrec serve` on free ports."""
    running = []

    def serve(*arguments, before=(), **options):
        command = [*before, sys.executable, "-m", "visrec_cli.main", "serve", "--repository", str(repository)]
        for port in ("--grpc-port", "--http-port", "--metrics-port", "--health-port"):
            command += [port, "0"]
        streams = {"stdout": subprocess.PIPE, "stderr": (tmp_path / "stderr").open("wb"), "text": True}
        process = subprocess.Popen([*command, *arguments], **{**streams, **options})
        running.append(process)
        return process

    yield serve
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def health():
    return Health()


@pytest.fixture(scope="session")
def server(repository, start):
    with start(repository) as server:
        yield server


@pytest.fixture(scope="session")
def committed(tmp_path_factory):
    return committed_repository(tmp_path_factory.mktemp("committed") / "model_repository")


@pytest.fixture(scope="session")
def committed_server(committed, start):
    with start(committed) as server:
        yield server


@pytest.fixture(scope="session")
def ask():
    """Send requests to a model, all at once; gives for each its outputs by name, or its error."""

    def ask(server, model, *requests):
        with grpcclient.InferenceServerClient(server.grpc_url) as client:
            names = [output.name for output in client.get_model_metadata(model).outputs]
            answers = queue.Queue()
            for number, feeds in enumerate(requests):
                client.async_infer(
                    model,
                    as_inputs(feeds),
                    lambda result, error, number=number: answers.put((number, result, error)),
                )
            found = {}
            for _ in requests:
                number, result, error = answers.get(timeout=30)
                found[number] = error or {name: as_str(result.as_numpy(name)) for name in names}
        return [found[number] for number in range(len(requests))]

    return ask


@pytest.fixture(scope="session")
def in_process():
    """Run a version's ONNX file with onnxruntime in this process: what every served answer must equal."""
    sessions = {}

    def run(repository, model, feeds):
        path = repository / model / "1" / "model.onnx"
        if path not in sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            sessions[path] = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        session = sessions[path]
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, feeds), strict=True))

    return run
