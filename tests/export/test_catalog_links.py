"""A change of the catalogue shares what stays with the release before it, and copies where it can't."""

import errno
import os
import types

import pytest

from visrec_export import catalog
from visrec_serving.pins import MODELS

KEPT = MODELS[:-1]


@pytest.fixture
def base(tmp_path):
    for model in KEPT:
        (tmp_path / model / "1").mkdir(parents=True)
        (tmp_path / model / "1" / "model.onnx").write_bytes(model.encode() * 1_000_000)
    return types.SimpleNamespace(repository=tmp_path, number=1)


@pytest.fixture
def built(tmp_path):
    (tmp_path / "built").mkdir()
    return tmp_path / "built"


def test_what_stays_takes_no_space(base, built, capsys):
    catalog._link(base, built)
    for model in KEPT:
        assert (built / model / "model.onnx").samefile(base.repository / model / "1" / "model.onnx")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV])
def test_where_links_are_refused_it_is_copied_and_that_is_told(base, built, capsys, monkeypatch, code):
    def refuse(*_):  # as for another user's files, or on a file system without hard links
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    catalog._link(base, built)
    for model in KEPT:
        assert (built / model / "model.onnx").read_bytes() == model.encode() * 1_000_000
    assert capsys.readouterr().err == (
        f"visrec: warning: copied 16 MB that can't be linked in {base.repository}:"
        f" {os.strerror(code).lower()}\n"
    )
