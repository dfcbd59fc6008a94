from pathlib import Path

import pytest

from visrec_demo.stages import Stage, Stages, sources_digest


class Kitchen:
    """Two stages, one after the other, that write down what they do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flour = "wheat"
        self.done: list[str] = []

    def run(self) -> list[str]:
        """What was made in this run."""
        self.done.clear()
        stages = Stages(self.folder / "stamps", 2)
        for title, inputs in (("dough", self.flour), ("bread", "an hour")):
            made = self.folder / title
            stages.run(Stage(title, inputs, lambda made=made: [made], lambda title=title: self.make(title)))
        return list(self.done)

    def make(self, title: str) -> None:
        self.done.append(title)
        (self.folder / title).write_text(f"{title} of {self.flour}")


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


def test_what_is_up_to_date_is_not_made_again(kitchen: Kitchen, capsys: pytest.CaptureFixture[str]) -> None:
    assert kitchen.run() == ["dough", "bread"]
    told = capsys.readouterr().out
    assert "[1/2] dough" in told
    assert "[2/2] bread" in told
    assert told.count("done in") == 2
    assert kitchen.run() == []
    assert capsys.readouterr().out.count("up to date") == 2


def test_a_changed_input_makes_anew_what_follows(kitchen: Kitchen) -> None:
    kitchen.run()
    kitchen.flour = "rye"
    assert kitchen.run() == ["dough", "bread"]
    assert (kitchen.folder / "bread").read_text() == "bread of rye"


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("eaten")])
def test_a_missing_or_changed_output_is_made_again(kitchen: Kitchen, harm) -> None:
    kitchen.run()
    harm(kitchen.folder / "bread")
    assert kitchen.run() == ["bread"]
    assert kitchen.run() == []


def test_a_remade_stage_makes_anew_what_follows(kitchen: Kitchen) -> None:
    kitchen.run()
    (kitchen.folder / "dough").unlink()
    assert kitchen.run() == ["dough", "bread"]


def test_a_stage_that_failed_is_not_taken_for_done(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> None:
    kitchen.run()
    kitchen.flour = "rye"

    def fail(title: str) -> None:
        raise OSError("the oven is out")

    with monkeypatch.context() as broken:
        broken.setattr(kitchen, "make", fail)
        with pytest.raises(OSError, match="oven"):
            kitchen.run()
    assert kitchen.run() == ["dough", "bread"]


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_broken_stamp_is_no_stamp(kitchen: Kitchen, text: str) -> None:
    kitchen.run()
    (kitchen.folder / "stamps" / "2.json").write_text(text)
    assert kitchen.run() == ["bread"]


def test_code_that_changes_changes_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "bakery_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "oven.py").write_text("HEAT = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    whole, module = sources_digest("bakery_of_a_test"), sources_digest("bakery_of_a_test.oven")
    assert whole == sources_digest("bakery_of_a_test")
    (package / "oven.py").write_text("HEAT = 2\n")
    assert sources_digest("bakery_of_a_test") != whole
    assert sources_digest("bakery_of_a_test.oven") != module
