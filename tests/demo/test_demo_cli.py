from pathlib import Path

import pytest

from visrec_cli.main import main
from visrec_demo.cli import DemoStopped, call


def test_help_says_what_is_made_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["demo", "--help"])
    assert left.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    for word in (
        "stickers",
        "simulates shoppers",
        "Triton",
        "--folder",
        "--repository",
        "--seed",
        "build/demo",
    ):
        assert word in told


def test_a_subcommand_that_fails_stops_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DemoStopped, match="visrec train"):
        call("train", "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path), "--cache", str(tmp_path))
    assert "nowhere" in capsys.readouterr().err


def test_a_seed_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--seed", "-1"])
    assert "'-1' is not a whole number" in capsys.readouterr().err
