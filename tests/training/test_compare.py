"""`visrec compare`: which of several measured runs is better, by a paired bootstrap over people."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visrec_training import compare as module
from visrec_training.checkpoint import Checkpoint
from visrec_training.compare import Asked, Entry, compare, holm, seed_spread
from visrec_training.errors import EvaluationError
from visrec_training.query_results import QUERY_RESULTS, SectionResults, load, save

RNG = np.random.default_rng(0)
PEOPLE = np.arange(300)


@pytest.fixture
def fewer(monkeypatch):
    """Fewer samples, where what is shown needs no more."""
    monkeypatch.setattr(module, "RESAMPLES", 500)


def entry(name, *seeds, people=PEOPLE, section="warm", **settings):
    """What seeds reached, float [n] each, by both metrics alike; settings are their own unless given."""
    reached = np.stack([np.stack([seed, seed], axis=1) for seed in seeds])
    return Entry(name, {section: Asked(people, reached)}, settings.get("settings", name))


def told(*entries):
    """NDCG@10 of each pair."""
    section = compare(list(entries))["sections"]["warm"]
    return [each["ndcg@10"] for each in section["differences"]]


def test_a_gain_that_all_people_have_is_sure_however_much_they_differ():
    easy = RNG.random(300)
    (pair,) = told(entry("one", easy), entry("other", easy + 0.01 * RNG.random(300)))
    assert pair["low"] < pair["difference"] < pair["high"]
    assert pair["low"] > 0.004
    assert pair["p"] == pair["p adjusted"] < 0.001


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_swapped_runs_differ_the_other_way_round_as_surely(seed):
    rng = np.random.default_rng(seed)
    one, other = rng.random(40).round(1), rng.random(40).round(1)
    people = rng.integers(30, size=40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RESAMPLES", 200)
        patch.setattr(module, "FEWEST_PEOPLE", 2)
        first, second = entry("one", one, people=people), entry("other", other, people=people)
        (pair,), (swapped,) = told(first, second), told(second, first)
    assert pair["difference"] == pytest.approx(-swapped["difference"])
    assert (pair["low"], pair["high"]) == pytest.approx((-swapped["high"], -swapped["low"]))
    assert pair["p"] == swapped["p"]


def test_runs_that_came_out_alike_are_not_different():
    same = RNG.random(300)
    (pair,) = told(entry("one", same), entry("other", same))
    assert pair == {"difference": 0, "low": 0, "high": 0, "p": 1, "p adjusted": 1}
    thirds = told(entry("one", same, same, same), entry("other", same))
    assert thirds[0]["p"] == 1, "nor are means of them, which differ by rounding"


def test_queries_of_a_person_are_no_further_evidence(fewer):
    one, other = RNG.random(30), RNG.random(30)
    often = np.repeat(np.arange(30), 20)
    (once,) = told(entry("one", one, people=np.arange(30)), entry("other", other, people=np.arange(30)))
    (again,) = told(
        entry("one", np.repeat(one, 20), people=often), entry("other", np.repeat(other, 20), people=often)
    )
    assert again == pytest.approx(once)


def test_several_pairs_are_corrected_for(fewer):
    entries = [entry(str(number), RNG.random(300)) for number in range(4)]
    pairs = told(*entries)
    assert len(pairs) == 6
    assert all(pair["p adjusted"] >= pair["p"] for pair in pairs)
    lowest = min(pairs, key=lambda pair: pair["p"])
    assert lowest["p adjusted"] == pytest.approx(min(1, 6 * lowest["p"]))


def test_holm_as_worked_out_by_hand():
    assert holm(np.asarray([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    columns = np.asarray([[0.01, 0.5], [0.04, 0.6]])
    assert holm(columns).tolist() == [[pytest.approx(0.02), 1], [pytest.approx(0.04), 1]]


@given(st.lists(st.floats(0.0001, 1), min_size=1, max_size=20))
def test_a_correction_lowers_nothing_and_keeps_the_order(values):
    p = np.asarray(values)
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[p.argsort()]) >= 0).all()


def seeds_of_one_configuration(rng, seeds, deviation):
    """Seeds that are a little better or worse for everybody, and differ for each person too."""
    easy = rng.random(300)
    return [easy + deviation * rng.standard_normal() + 0.02 * rng.standard_normal(300) for _ in range(seeds)]


def test_seeds_of_one_configuration_are_rarely_told_apart(fewer):
    """Where seeds differ for everybody, people alone can't tell chance in training from better settings."""
    rng, people_alone, seeds_known, groups = np.random.default_rng(1), [], [], []
    for _ in range(60):
        seeds = seeds_of_one_configuration(rng, 6, deviation=0.01)
        strangers = told(entry("one", seeds[0]), entry("other", seeds[1]))
        known = told(*(entry(str(place), seed, settings="same") for place, seed in enumerate(seeds)))
        (group,) = told(
            entry("one", *seeds[:3], settings="same"), entry("other", *seeds[3:], settings="same")
        )
        people_alone.append(strangers[0]["p"] < 0.05)
        seeds_known.append(known[0]["p"] < 0.05)
        groups.append(group["p"] < 0.05)
    assert np.mean(people_alone) > 0.5
    assert np.mean(seeds_known) <= 0.1
    assert np.mean(groups) <= 0.1


def test_two_seeds_alone_are_not_told_apart(fewer):
    """All that is known of how much seeds differ is their difference."""
    easy = RNG.random(300)
    (pair,) = told(entry("one", easy, settings="same"), entry("other", easy + 0.1, settings="same"))
    assert pair["p"] == pytest.approx(0.5, abs=0.1)


def test_better_settings_are_found_by_their_seeds(fewer):
    rng = np.random.default_rng(2)
    seeds = seeds_of_one_configuration(rng, 8, deviation=0.003)
    (pair,) = told(entry("one", *seeds[:4]), entry("other", *(seed + 0.02 for seed in seeds[4:])))
    assert pair["p"] < 0.01


def test_the_spread_of_seeds_is_pooled():
    level = np.ones((1, 10, 2))
    seeds = [("a", level * np.asarray([[[1]], [[2]]])), ("a", 3 * level), ("b", level), ("b", 5 * level)]
    spread = seed_spread([*seeds, ("c", 9 * level), (None, 7 * level), (None, level)])
    assert spread.freedom == 3
    assert spread.deviation == pytest.approx([(10 / 3) ** 0.5] * 2)
    assert seed_spread([("a", level), ("b", level), (None, level), (None, 2 * level)]) is None


def test_what_has_no_seed_adds_no_spread(fewer):
    easy = RNG.random(300)
    seeds = [easy + 0.1 * shift for shift in (-1, 0, 1)]
    baselines = [entry(name, easy + gain, settings=None) for name, gain in (("EASE", 0), ("item-kNN", 0.01))]
    pairs = told(entry("visrec", *seeds), *baselines)
    lengths = [pair["high"] - pair["low"] for pair in pairs]
    assert lengths[0] > 0.1
    assert lengths[2] < 1e-6, "everybody gains the same"


def test_a_section_that_not_all_have_or_few_people_ask_is_left_out(fewer):
    values = RNG.random(300)
    both = entry("one", values).sections | entry("one", values, section="cold").sections
    report = compare([Entry("one", both, "one"), entry("other", values)])
    assert list(report["sections"]) == ["warm"]
    assert report["left out"] == {"cold": "other has no figures there"}
    few = [entry(name, values[:9], people=np.arange(9)) for name in ("one", "other")]
    with pytest.raises(EvaluationError, match="warm: fewer than 20 people"):
        compare(few)


def test_query_results_are_read_as_they_were_written(tmp_path):
    reached = {"history": RNG.random((5, 2)), "EASE": RNG.random((5, 2))}
    people = np.asarray([3, 3, 4, 9, 9])
    save(tmp_path / QUERY_RESULTS, "digest", {"cold alone": SectionResults(people, "asked", reached)})
    (name, again), *rest = load(tmp_path / QUERY_RESULTS, "digest").items()
    assert (name, rest, again.questions) == ("cold alone", [], "asked")
    assert again.people.tolist() == people.tolist()
    for row, values in reached.items():
        np.testing.assert_allclose(again.reached[row], values, atol=1e-7)
    assert {path.name for path in tmp_path.iterdir()} == {QUERY_RESULTS}


@pytest.fixture(scope="module")
def measured(split_shop, cache, visrec, tmp_path_factory):
    """The out folder of a run that was measured."""
    out = tmp_path_factory.mktemp("measured")
    words = ("--data", split_shop, "--cache", cache)
    assert visrec("train", *words, "--out", out, "--epochs", 0) == 0
    assert visrec("evaluate", *words, "--checkpoint", out / "best.pt") == 0
    return out


@pytest.fixture
def another(measured, tmp_path):
    """Makes a run with settings of its own, in which each query of the model's rows gains something."""

    def make(name, gain=0.0, **changed):
        folder = tmp_path / name
        loaded = Checkpoint.load(measured / "best.pt")
        made = dataclasses.replace(
            loaded,
            train_config=dataclasses.replace(loaded.train_config, **changed),
            state={key: value + 0.001 for key, value in loaded.state.items()},
        )
        made.save(folder / "best.pt")
        results = load(measured / QUERY_RESULTS, loaded.digest())
        noise = np.random.default_rng(made.train_config.seed).random(10_000)
        for section in results.values():
            chance = 1e-3 * noise[: len(section.people), None]
            section.reached["history"] = section.reached["history"] + gain + chance
        save(folder / QUERY_RESULTS, made.digest(), results)
        return folder

    return make


def test_a_file_of_query_results_agrees_with_the_report(measured):
    report = json.loads((measured / "evaluation.json").read_text())
    results = load(measured / QUERY_RESULTS, report["checkpoint"])
    assert set(results) == set(report["queries"])
    for name, section in results.items():
        assert set(section.reached) == set(report[name])
        for row, reached in section.reached.items():
            figures = [report[name][row]["ndcg@10"], report[name][row]["recall@20"]]
            assert reached.mean(axis=0) == pytest.approx(figures, abs=1e-6)


def test_two_runs_are_compared_on_stdout_and_as_json(measured, another, visrec, tmp_path, capsys):
    other = another("other", gain=0.05, learning_rate=1e-4)
    assert visrec("compare", measured, other, "--out", tmp_path / "compared.json") == 0
    report = json.loads((tmp_path / "compared.json").read_text())
    assert set(report["sections"]) == {"warm", "cold alone", "cold", "mixed"}
    for section in report["sections"].values():
        (pair,) = section["differences"]
        assert (pair["entry"], pair["less"]) == (1, 0)
        assert pair["ndcg@10"]["difference"] == pytest.approx(0.0505, abs=0.001)
        assert pair["ndcg@10"]["p"] < 0.001
    said = capsys.readouterr().out
    assert f"#1  history of {measured}" in said
    assert "#2 - #1" in said
    assert "p < 0.001" in said
    assert "Each run is one seed" in said


def test_a_run_is_compared_with_its_baselines_and_those_with_each_other(measured, visrec, tmp_path, capsys):
    words = (measured, f"{measured}:EASE", f"{measured}:item-kNN", "--out", tmp_path / "compared.json")
    assert visrec("compare", *words) == 0
    report = json.loads((tmp_path / "compared.json").read_text())
    assert [each["row"] for each in report["entries"]] == ["history", "EASE", "item-kNN"]
    assert len(report["sections"]["warm"]["differences"]) == 3
    assert set(report["left out"]) == {"cold alone", "cold"}, "EASE can't tell new items apart"
    said = capsys.readouterr().out
    assert "(Holm)" in said
    assert "cold is left out" in said


def test_a_run_does_not_differ_from_itself(measured, visrec, tmp_path):
    words = (measured, measured / "best.pt", "--out", tmp_path / "compared.json")
    assert visrec("compare", *words) == 0
    report = json.loads((tmp_path / "compared.json").read_text())
    assert {each["ndcg@10"]["p"] for s in report["sections"].values() for each in s["differences"]} == {1}


def test_seeds_of_one_configuration_are_compared_as_one(measured, another, visrec, tmp_path, capsys):
    ours = [another(f"ours-{seed}", gain=0.05, seed=seed, learning_rate=1e-4) for seed in (0, 1)]
    theirs = [another(f"theirs-{seed}", seed=seed) for seed in (1, 2)]
    out = ("--out", tmp_path / "compared.json")
    assert visrec("compare", measured, *theirs, *ours, f"{measured}:EASE", "--seeds", *out) == 0
    report = json.loads((tmp_path / "compared.json").read_text())
    assert [each["seeds"] for each in report["entries"]] == [[0, 1, 2], [0, 1], []]
    assert report["sections"]["warm"]["differences"][0]["ndcg@10"]["p"] < 0.05
    assert "How much seeds differ counts" in capsys.readouterr().out


def test_runs_that_differ_by_their_seed_alone_are_known_to(measured, another, visrec, capsys):
    assert visrec("compare", measured, another("other", gain=0.05, seed=1)) == 0
    assert "How much seeds differ counts" in capsys.readouterr().out


def test_states_of_one_training_are_no_seeds(measured, another, visrec, capsys):
    assert visrec("compare", measured, another("last", gain=0.05)) == 0
    said = capsys.readouterr().out
    assert "Each run is one seed" in said
    assert "p < 0.001" in said


def fails(visrec, capsys, *words):
    """What `visrec compare` says when it can't."""
    assert visrec("compare", *words) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_what_cannot_be_compared_is_told_in_a_line(measured, another, visrec, tmp_path, capsys):
    assert "give two runs or more" in fails(visrec, capsys, measured)
    assert "no checkpoint at nowhere" in fails(visrec, capsys, measured, "nowhere")
    assert "it has nothing, history" in fails(visrec, capsys, measured, f"{measured}:VAE")
    unmeasured = tmp_path / "unmeasured"
    unmeasured.mkdir()
    shutil.copy(measured / "best.pt", unmeasured)
    assert "run `visrec evaluate` on" in fails(visrec, capsys, measured, unmeasured)
    (unmeasured / QUERY_RESULTS).write_bytes((measured / QUERY_RESULTS).read_bytes()[:200])
    assert "is damaged: run `visrec evaluate` again" in fails(visrec, capsys, measured, unmeasured)
    other = another("other")
    shutil.copy(measured / QUERY_RESULTS, other)
    assert "tells of another checkpoint" in fails(visrec, capsys, measured, other)


def test_seeds_that_cannot_be_told_are_told_in_a_line(measured, another, visrec, capsys):
    seed = another("seed", seed=1)
    assert "the same settings and the same seed" in fails(visrec, capsys, measured, measured, "--seeds")
    assert "all runs have the same settings" in fails(visrec, capsys, measured, seed, "--seeds")
    single = another("single", learning_rate=1e-4)
    assert "--seeds needs two runs or more" in fails(visrec, capsys, measured, single, "--seeds")


def test_other_data_and_other_questions_are_refused(measured, visrec, tmp_path, capsys):
    loaded = Checkpoint.load(measured / "best.pt")
    results = load(measured / QUERY_RESULTS, loaded.digest())
    other = dataclasses.replace(loaded, fingerprint={**loaded.fingerprint, "titles": "others"})
    other.save(tmp_path / "best.pt")
    shutil.copy(measured / QUERY_RESULTS, tmp_path)
    assert "different data (what differs: titles)" in fails(visrec, capsys, measured, tmp_path)
    loaded.save(tmp_path / "best.pt")
    asked = {name: each._replace(questions="others") for name, each in results.items()}
    save(tmp_path / QUERY_RESULTS, loaded.digest(), asked)
    assert "asked different questions" in fails(visrec, capsys, measured, tmp_path)


def test_no_user_id_is_in_the_file(measured):
    with np.load(measured / QUERY_RESULTS, allow_pickle=False) as stored:
        assert all(stored[name].dtype in (np.int32, np.float32) for name in stored.files if name != "about")
        assert set(json.loads(str(stored["about"]))) == {"format", "checkpoint", "sections"}
