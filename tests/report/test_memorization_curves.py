from dataclasses import replace

import pytest

from shattering import Randomization, RunSpec, Store, run
from shattering.measures.memorization import memorization_start
from shattering.report import figures
from shattering.report.charts import save, to_spec

PARAMS = {"epochs": 25, "batch_size": 10, "learning_rate": 0.05, "device": "cpu", "track_examples": True}
SPEC = RunSpec("digits", n_train=100, n_test=50, randomization=Randomization(0.3, label_mode="flip"), params=PARAMS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    return [run(SPEC, store), run(replace(SPEC, seed=1), store), run(replace(SPEC, randomization=Randomization(0.5)), store)]


def test_the_curves_are_those_of_the_history_with_a_rule_at_the_start(runs):
    spec = to_spec(figures.memorization_curves(runs))
    (rows,) = spec["datasets"].values()
    for of in runs:
        mine = [row for row in rows if row["run"] == of.folder.name]
        for column, name in figures.FITS.items():
            assert [row["fraction"] for row in mine if row["examples"] == name] == of.history[column].tolist()
        start = memorization_start(of.history)
        assert start is not None
        assert [row["epoch"] for row in mine if row["examples"] == "memorization starts"] == [start.epoch]
    assert len({row["model"] for row in rows}) == 2
    lines, rule, text = spec["spec"]["layer"]
    assert lines["transform"][0]["filter"] == {"field": "examples", "oneOf": list(figures.FITS.values())}
    assert rule["transform"][0]["filter"] == text["transform"][0]["filter"] == {"field": "examples", "equal": "memorization starts"}


def test_it_is_drawn(runs, tmp_path):
    svg = save(figures.memorization_curves(runs[:1]), tmp_path / "m.svg").read_text()
    assert svg.count("memorization starts") >= 1
    assert "corrupted label, memorized" in svg
    assert "stroke-dasharray" in svg


def test_runs_without_tracking_or_without_changed_labels_are_not_drawn(runs, tmp_path):
    clean = run(replace(SPEC, randomization=Randomization()), Store(tmp_path))
    plain = run(replace(SPEC, params={**PARAMS, "track_examples": False}), Store(tmp_path))
    forest = run(RunSpec("digits", n_train=100, model="random-forest"), Store(tmp_path))
    assert figures.memorization_curves([clean, plain, forest]) is None
    assert figures.memorization_curves([]) is None
    assert to_spec(figures.memorization_curves([clean, runs[0]])) == to_spec(figures.memorization_curves([runs[0]]))
