"""Who may do what: control asks for the admin key, and everything else for the API key where there is one."""

import os
import re
import stat
import urllib.error
import urllib.request
from concurrent import futures
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from visrec_client.errors import VisrecError
from visrec_serving import hiding
from visrec_serving.keys import Keys
from visrec_serving.process import children

API_KEY = "an-api-key-for-tests"
HEADER = "triton-grpc-protocol-visrec-"


@pytest.fixture(scope="module")
def guarded(repository, start, tmp_path_factory):
    """A server that asks callers for a key."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "api").write_text(f"{API_KEY}\n")
    with start(repository, api_key_file=folder / "api", log_file=folder / "log", verbose=True) as server:
        yield server


def with_key(kind, key):
    return {f"{HEADER}{kind}-key": key}


def outcome(call, *arguments, headers):
    try:
        call(*arguments, headers=headers)
    except InferenceServerException as error:
        return error.status() or error.message()
    return "done"


def inputs():
    ones = np.ones((1, 3), np.float32)
    found = [grpcclient.InferInput(name, [1, 3], "FP32") for name in ("FIRST", "SECOND")]
    for tensor in found:
        tensor.set_data_from_numpy(ones)
    return found


def http(server, method, path, headers):
    request = urllib.request.Request(server.http_url + path, method=method, headers=headers, data=b"{}")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("headers", [{}, with_key("admin", "wrong"), with_key("api", API_KEY)])
def test_control_is_refused_without_the_admin_key(guarded, headers):
    with grpcclient.InferenceServerClient(guarded.grpc_url) as client:
        for call, *arguments in (
            (client.load_model, "add"),
            (client.unload_model, "add"),
            (client.get_model_repository_index,),
            (client.register_system_shared_memory, "region", "/any", 8),
            (client.get_trace_settings,),
            (client.update_log_settings, {"log_verbose_level": 0}),
        ):
            assert outcome(call, *arguments, headers=headers) == "StatusCode.UNAVAILABLE", call


def test_control_is_there_for_the_admin_key(guarded):
    headers = with_key("admin", guarded.keys.admin)
    with grpcclient.InferenceServerClient(guarded.grpc_url) as client:
        assert outcome(client.load_model, "add", headers=headers) == "done"
        assert outcome(client.get_trace_settings, headers=headers) == "done"


def test_callers_send_the_api_key(guarded):
    with grpcclient.InferenceServerClient(guarded.grpc_url) as client:
        for headers, expected in (
            ({}, "StatusCode.UNAVAILABLE"),
            (with_key("api", "wrong"), "StatusCode.UNAVAILABLE"),
            (with_key("admin", guarded.keys.admin), "StatusCode.UNAVAILABLE"),
            (with_key("api", API_KEY), "done"),
        ):
            assert outcome(client.infer, "add", inputs(), headers=headers) == expected
            assert outcome(client.get_model_metadata, "add", headers=headers) == expected
            assert outcome(client.is_server_ready, headers=headers) == expected


def test_http_asks_for_the_same_keys(guarded):
    admin, api = guarded.keys.headers().items()
    load, ready = ("POST", "/v2/repository/models/add/load"), ("GET", "/v2/health/ready")
    for key in ({}, dict([api])):
        assert http(guarded, *load, key) == 403
    assert http(guarded, *load, dict([admin])) == 200
    for key in ({}, dict([admin])):
        assert http(guarded, *ready, key) == 403
    assert http(guarded, *ready, dict([api])) == 200


def test_without_an_api_key_all_may_ask_and_nobody_may_control(server):
    with grpcclient.InferenceServerClient(server.grpc_url) as client:
        assert outcome(client.infer, "add", inputs(), headers={}) == "done"
        assert outcome(client.unload_model, "add", headers={}) == "StatusCode.UNAVAILABLE"
    assert http(server, "POST", "/v2/repository/models/add/unload", {}) == 403


def test_a_server_makes_its_admin_key_and_keeps_it_where_only_its_owner_reads(server, repository):
    path = repository / ".admin-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().strip() == server.keys.admin
    assert len(server.keys.admin) >= 32
    assert [path.name for path in repository.glob(".admin-key*")] == [".admin-key"]


def test_keys_are_in_no_command_line_environment_or_log(guarded):
    secrets = [guarded.keys.admin.encode(), API_KEY.encode()]
    assert guarded.keys_hidden
    for pid in (guarded.pid, *children(guarded.pid)):
        for file in ("cmdline", "environ"):
            assert not any(secret in Path(f"/proc/{pid}/{file}").read_bytes() for secret in secrets)
    assert b"visrec-admin-key=*****" in Path(f"/proc/{guarded.pid}/cmdline").read_bytes()
    log = guarded.log_file.read_bytes()
    assert b"grpc" in log.lower() and not any(secret in log for secret in secrets)
    assert API_KEY not in repr(guarded.keys) and guarded.keys.admin not in repr(guarded.keys)


def test_a_process_that_ended_hides_nothing():
    assert not hiding.hide(2**22 + 1, ["secret"])


def test_the_api_key_of_the_environment_stays_out_of_the_servers(serve, monkeypatch):
    monkeypatch.setenv("VISREC_API_KEY", API_KEY)
    process = serve()
    url = re.search(r"gRPC (\S+),", process.stdout.readline())[1]
    with grpcclient.InferenceServerClient(url) as client:
        assert outcome(client.infer, "add", inputs(), headers={}) == "StatusCode.UNAVAILABLE"
        assert outcome(client.infer, "add", inputs(), headers=with_key("api", API_KEY)) == "done"
    (triton,) = children(process.pid)
    for pid in (triton, *children(triton)):
        assert API_KEY.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.parametrize("key", ["", "short", "a key with spaces in it", "sixteen,commas:in=it,"])
def test_a_key_that_is_no_good_is_told_without_telling_it(tmp_path, key):
    (tmp_path / "key").write_text(key)
    with pytest.raises(VisrecError, match="must be at least 16 letters, digits or") as raised:
        Keys.find(tmp_path, tmp_path / "key", None)
    assert not key or key not in str(raised.value)


def test_a_key_file_that_is_missing(tmp_path):
    with pytest.raises(VisrecError, match="can't read the key in"):
        Keys.find(tmp_path, tmp_path / "key", None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_repository_that_cannot_be_written_asks_for_a_key_file(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(VisrecError, match="name a file with one by --admin-key-file"):
        Keys.find(tmp_path, None, None)


def test_servers_that_start_at_once_agree_on_one_admin_key(tmp_path):
    with futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: Keys.find(tmp_path, None, None).admin, range(8)))
    assert len(set(found)) == 1
    assert (tmp_path / ".admin-key").read_text().strip() == found[0]
    assert {path.name for path in tmp_path.iterdir()} == {".admin-key", ".key.lock"}
