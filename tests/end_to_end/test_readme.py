"""The README's commands and code, run word by word on a small shop."""

import contextlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from visrec_demo.catalogue import stickers, write_catalogue
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.config_file import make_configs, read_settings

README = (Path(__file__).parents[2] / "README.md").read_text()
VISREC = Path(sys.executable).with_name("visrec")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def folder(small_shop, tmp_path, monkeypatch):
    shutil.copytree(small_shop, tmp_path / "shop")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line):
    program, *words = shlex.split(line)
    assert program == "visrec"
    done = subprocess.run([VISREC, *words], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def serving(line, log):
    """The server of the README, from its line "ready" until it is asked to stop."""
    words = shlex.split(line)[1:]
    with (
        log.open("w") as errors,
        subprocess.Popen([VISREC, *words], stdout=subprocess.PIPE, stderr=errors, text=True) as server,
    ):
        try:
            assert any("ready" in said for said in server.stdout), log.read_text()
            yield
        finally:
            server.terminate()
        assert server.wait(60) == 0


def test_the_quickstart_works_as_written(folder, visrec, capsys):
    made, asked, changed = blocks("bash")
    *lines, serve = made.strip().splitlines()
    for line in lines:
        run(line)
    with serving(serve, folder / "serve.log"):
        first, second = asked.strip().splitlines()
        assert "title" in run(first)
        assert (folder / "looked_at.png").is_file()
        assert len(run(second).strip().splitlines()) == 6
        (code,) = blocks("python")
        exec(compile(code, "README.md", "exec"), {})
        assert "openmoji-" in capsys.readouterr().out
        write_catalogue(
            folder / "arrivals", [sticker for sticker in stickers() if sticker.title == "green apple"]
        )
        for line in changed.strip().splitlines():
            assert visrec(*shlex.split(line)[1:]) == 0
        assert "release 4 is served" in capsys.readouterr().out


def test_the_settings_are_those_of_train(tmp_path):
    (settings,) = blocks("toml")
    (tmp_path / "shop.toml").write_text(settings)
    assert make_configs(read_settings(tmp_path / "shop.toml")) == (
        ModelConfig(dim=256, user_attention=False),
        TrainConfig(predict="any", cold_share=0.0, learning_rate=1e-3),
    )
