"""`python -m benchmarks.quality`: from a data folder to a results file, tables and a page."""

import dataclasses
import json
from pathlib import Path

import pytest
from benchmarks.quality import ROOT, run
from benchmarks.quality.__main__ import main
from benchmarks.quality.visrec_run import VARIANTS

from visrec_training.config import ModelConfig, TrainConfig

VARIANT = "visrec, uniform attention"
WITHOUT = ("--no-cornac", "--no-rectools")


@pytest.fixture(scope="module", autouse=True)
def short():
    """Each variant is its closed form."""
    variants = {
        name: dataclasses.replace(each, train={**each.train, "epochs": 0}) for name, each in VARIANTS.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "VARIANTS", variants)
        yield


@pytest.fixture(scope="module")
def words(split_shop, cache, tmp_path_factory):
    """What every call gets; a variant's closed form is quick, and real."""
    work = tmp_path_factory.mktemp("work")
    options = ("--data", split_shop, "--cache", cache, "--work", work, "--out", work / "quality.json")
    return [str(word) for word in (*options, "--seeds", 2, "--variants", "visrec", VARIANT, *WITHOUT)]


@pytest.fixture(scope="module")
def results(words, short):
    assert main(["run", *words]) == 0
    return json.loads(Path(words[words.index("--out") + 1]).read_text())


def test_each_model_is_measured_with_every_seed(results):
    models = results["shop"]["models"]
    assert {"Popularity", "ItemKNN", "EASE", "EDLAE", "Centroid of both", "visrec", VARIANT} <= set(models)
    for row in ("warm", "cold", "cold alone", "mixed", "nothing", "history-3"):
        figure = models["visrec"][row]["ndcg@10"]
        assert len(figure["seeds"]) == 2
        assert figure["low"] <= figure["mean"] <= figure["high"]
        assert figure["mean"] == pytest.approx(sum(figure["seeds"]) / 2)
    assert len(models[VARIANT]["warm"]["ndcg@10"]["seeds"]) == 1, "an ablation is trained once"
    assert len(models["EASE"]["warm"]["recall@20"]["seeds"]) == 1, "nothing in it is drawn"
    assert models["visrec"]["cost"]["peak GB"] > 0.1
    assert results["shop"]["commit"]
    assert "cores" in results["shop"]["machine"]


def test_a_baseline_says_nothing_of_what_it_cannot_know(results):
    models = results["shop"]["models"]
    assert "cold" not in models["EASE"]
    assert "mixed" in models["EASE"], "known items stand there too"
    assert models["EASE"]["new among known"]["ranks 1-5, share new"] == 0
    assert models["Centroid of words"]["new among known"]["ranks 1-5, share new"] > 0
    assert "history-3" in models["EASE"]
    for content in ("words", "pictures", "both", "sentences"):
        assert "cold" in models[f"Centroid of {content}"]
        blended = models[f"EASE + centroid of {content}"]
        assert {"warm", "cold alone", "cold", "mixed", "history-3"} <= set(blended)


def test_visrec_is_compared_with_the_best_baseline_of_each_row(results):
    models = results["shop"]["models"]
    compared = models["visrec"]["best baseline"]
    assert "history-3" in compared
    for row, said in compared.items():
        reached = {
            name: figures[row]["ndcg@10"]["mean"]
            for name, figures in models.items()
            if row in figures and not name.startswith("visrec")
        }
        assert reached[said["model"]] == max(reached.values())
        assert 0 <= said["p"] <= 1


def test_what_is_done_is_not_done_again(results, words, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(run, "train_visrec", refuse)
    assert main(["run", *words]) == 0
    again = json.loads(Path(words[words.index("--out") + 1]).read_text())
    assert again == results
    out = tmp_path / "quality.json"
    out.write_text(json.dumps({"another shop": results["shop"]}))
    assert main(["run", *words, "--out", str(out)]) == 0
    assert list(json.loads(out.read_text())) == ["another shop", "shop"], "other sets stay"


def test_the_docs_and_the_page_are_made_from_the_results(results, words, tmp_path):
    docs, page = tmp_path / "README.md", tmp_path / "page.html"
    docs.write_text("before\n<!-- quality -->\nold\n<!-- /quality -->\nafter\n")
    assert main(["report", *words, "--docs", str(docs), "--page", str(page)]) == 0
    text = docs.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    mean = results["shop"]["models"]["EASE"]["warm"]["ndcg@10"]["mean"]
    assert f"| EASE | {mean:.4f} |" in text
    compared = results["shop"]["models"]["visrec"]["best baseline"]["mixed"]
    mixed = results["shop"]["models"]["visrec"]["mixed"]["ndcg@10"]["mean"]
    assert f"| shop | known and new items | {mixed:.4f}" in text, "all sets stand in one table"
    assert f"| known and new | {compared['model']} | {compared['ratio']:.2f} | " in text
    shown = page.read_text()
    assert shown.count("<svg") == 8
    assert "data:image/jpeg;base64," in shown
    assert "EASE" in shown


def test_a_page_with_pictures_is_kept_out_of_the_repository(words, capsys):
    assert main(["report", *words, "--page", str(ROOT / "docs" / "page.html")]) == 1
    assert "write under build/" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["run"], "give --data"),
        (["report", "--out", "nowhere.json"], "nowhere.json"),
        (["run", "--data", "nowhere", *WITHOUT], "no data folder at nowhere"),
        (["run", "--data", "nowhere", "--cornac", "no/bin/python"], "no python at no/bin/python"),
        (["run", "--data", "nowhere", "--no-cornac", "--rectools", "no/python"], "no python at no/python"),
    ],
)
def test_errors_are_one_line(capsys, asked, said):
    assert main(asked) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_data_without_a_split_is_refused(small_shop, cache, capsys):
    assert main(["run", "--data", str(small_shop), "--cache", str(cache), *WITHOUT]) == 1
    assert "no column split" in capsys.readouterr().err


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_changes_options_that_there_are(name):
    ModelConfig(**VARIANTS[name].model)
    TrainConfig(**VARIANTS[name].train)
