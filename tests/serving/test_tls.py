"""gRPC is encrypted, and lets in only who shows a certificate of the authority that the operator names."""

import subprocess
import urllib.error
import urllib.request

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from visrec_serving import ServerFailed
from visrec_serving.tls import Tls


def openssl(*words, folder):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """PEM files by name: an authority and another, and certificates of the server and of callers."""
    folder = tmp_path_factory.mktemp("certificates")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("ca", "other-ca"):
        names = ("-keyout", f"{authority}.key", "-out", f"{authority}.pem", "-subj", f"/CN={authority}")
        openssl("req", "-x509", *new, *names, "-days", "2", folder=folder)
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name, authority, days in (
        ("server", "ca", "1"),
        ("caller", "ca", "1"),
        ("expired", "ca", "-1"),
        ("stranger", "other-ca", "1"),
    ):
        request = ("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("req", *new, *request, folder=folder)
        signed = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-days", days)
        files = ("-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", "names")
        openssl("x509", "-req", *files, *signed, folder=folder)
    return folder


def tls(certificates, **options):
    return Tls(cert=certificates / "server.pem", key=certificates / "server.key", **options)


@pytest.fixture(scope="module")
def encrypted(repository, start, certificates):
    with start(repository, models=("add",), tls=tls(certificates)) as server:
        yield server


@pytest.fixture(scope="module")
def mutual(repository, start, certificates):
    mutually = tls(certificates, client_ca=certificates / "ca.pem")
    with start(repository, models=("add",), tls=mutually) as server:
        yield server


def answers(server, certificates, authority="ca", shown=None, encrypted=True):
    """Whether a caller gets an answer."""
    options = {"ssl": encrypted}
    if encrypted:
        options["root_certificates"] = str(certificates / f"{authority}.pem")
    if shown:
        options["certificate_chain"] = str(certificates / f"{shown}.pem")
        options["private_key"] = str(certificates / f"{shown}.key")
    inputs = [grpcclient.InferInput(name, [1, 3], "FP32") for name in ("FIRST", "SECOND")]
    for tensor in inputs:
        tensor.set_data_from_numpy(np.ones((1, 3), np.float32))
    with grpcclient.InferenceServerClient(server.grpc_url, **options) as client:
        try:
            return client.infer("add", inputs, client_timeout=5).as_numpy("SUM").tolist() == [[2, 2, 2]]
        except InferenceServerException:
            return False


def test_callers_that_know_the_authority_are_answered(encrypted, certificates):
    assert answers(encrypted, certificates)


def test_callers_without_encryption_are_not(encrypted, certificates):
    assert not answers(encrypted, certificates, encrypted=False)


def test_callers_of_another_authority_do_not_trust_the_server(encrypted, certificates):
    assert not answers(encrypted, certificates, authority="other-ca")


@pytest.mark.parametrize(
    ("shown", "let_in"), [("caller", True), (None, False), ("expired", False), ("stranger", False)]
)
def test_a_mutual_server_answers_who_shows_a_good_certificate(mutual, certificates, shown, let_in):
    assert answers(mutual, certificates, shown=shown) == let_in


def test_http_then_answers_the_server_alone(mutual):
    assert mutual.http_url.startswith("http://127.0.0.1:")
    assert mutual.loaded() == {"add": [1]}
    for path in ("/v2/health/ready", "/v2/models/add", "/v2"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(mutual.http_url + path, timeout=5)


@pytest.mark.parametrize(("cert", "key"), [("server", "caller"), ("missing", "server"), ("names", "server")])
def test_files_that_do_not_fit_are_told_at_once(repository, start, certificates, cert, key):
    wrong = Tls(cert=certificates / f"{cert}.pem", key=certificates / f"{key}.key")
    with pytest.raises(ServerFailed, match="TLS can't be set up with"):
        start(repository, tls=wrong).start()
