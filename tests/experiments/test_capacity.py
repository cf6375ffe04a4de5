"""Section 2.2's experiments and theorem 1, run whole at a tiny scale."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from shattering import Store, sweep
from shattering.cli import main
from shattering.experiments import corollary1, rademacher, reproduce, stability, theorem1
from shattering.experiments.catalogue import find_experiments
from shattering.experiments.experiment import Runs
from shattering.experiments.theorem1 import BUILDS
from shattering.runs.stored import Run
from tests.experiments.conftest import TINY, written

TRAINED = ("built_train", "trained_train", "built_test", "trained_test")
CAPACITY = find_experiments("all-capacity")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("capacity"))
    runs = sweep(reproduce.experiment_specs(CAPACITY, TINY), store, jobs=2)
    assert [run.error for run in runs if run.status != "done"] == []
    return store


@pytest.mark.parametrize("name", CAPACITY)
def test_every_experiment_has_a_page_pictures_and_judged_claims(store, tmp_path, name):
    result, files = written(name, store, tmp_path)
    assert len(files) == 1 + 3 * len(result.charts)


def claims(store, name: str) -> dict[str, bool | None]:
    return {claim.name: claim.holds for claim in reproduce.make_result(name, TINY, store).claims}


def test_claims_that_need_no_scale_hold(store):
    found = {name: claims(store, name) for name in CAPACITY}
    assert found["theorem1"]["2n + d weights take any labels"]
    assert found["theorem1"]["and float64 holds it"]
    assert found["theorem1"]["existence is not trainability"]
    assert found["corollary1"]["any depth, with O(n / k) width and O(n + d) weights"]
    assert found["rademacher"]["networks have a Rademacher complexity of about 1"]


def test_theorem_1_counts_weights_and_says_what_was_tried(store):
    result = reproduce.make_result("theorem1", TINY, store)
    sizes, tried, trained = result.tables
    assert [(row["n_parameters"], row["count"]) for row in sizes.rows] == [(124, 124), (184, 184), (100 + 3072, 100 + 3072)]
    assert [row["build"] for row in tried.rows] == list(BUILDS)
    assert all(row["largest_weight"] <= row["weight_bound"] for row in sizes.rows)
    (row,) = trained.rows
    assert row["weights"] == 2 * 40 + 64
    assert abs(row["parameters"] - row["weights"]) <= 64 + 11, "as near as whole hidden units come"
    assert row["built_train"] == 1


def test_corollary_1_counts_weights(store):
    (record, noise) = Runs(store, TINY).records(corollary1.specs(TINY))
    assert (record.result["n"], noise.result["n"]) == (60, 50)
    for row in record.table.itertuples():
        assert row.n_parameters - (2 * 60 + 64) <= 2 * row.depth
        assert row.labels_right == 1
        assert row.max_error < 1e-8


def test_rules_can_fail(store):
    """The same rules on what a model that cannot fit, or does not change, would have left."""
    closed, *trained = Runs(store, TINY).records(rademacher.specs(TINY))
    weak = {"MLP": Run(trained[0].spec, trained[-1].folder, "done", trained[-1].result, {})}
    assert weak["MLP"].result["value"] < 0.99
    claim = rademacher.make_result("rademacher", "tiny", weak, closed).claims[0]
    assert (claim.verdict, claim.why[:19]) == ("inconclusive", "MLP: training found"), "a lower bound refutes nothing"
    rows = [
        {"model": "x", "labels": labels, "uniform": uniform, "own": own, "own_bounds": (own - 0.02, own + 0.02), "labels_fitted": None}
        for labels, uniform, own in (("original labels", 1.0, 0.5), ("random labels", 0.0, 0.4))
    ]
    found = stability._claims(rows)
    assert [claim.verdict for claim in found] == ["inconclusive", "does not hold"], "that no change was seen refutes nothing"
    assert found[0].why == "x, random labels: no change seen, and others may show one"
    for own, verdict in ((0.6, "holds"), (0.51, "inconclusive")):
        rows[1] |= {"uniform": 1.0, "own": own, "own_bounds": (own - 0.02, own + 0.02)}
        assert [claim.verdict for claim in stability._claims(rows)] == ["holds", verdict]
    trained_row = {"n": 5, "built_train": 1.0, "trained_train": 1.0, "built_test": 0.5, "trained_test": 0.1}
    records = Runs(store, TINY).records(theorem1.study_specs(TINY.capacity))
    broken = records[0]
    broken.table.loc[len(broken.table) - 1, ["max_error", "labels_right", "largest_weight"]] = [0.3, 0.99, 1e30]
    assert [claim.holds for claim in theorem1._claims([broken], [trained_row], [])] == [False] * 5


def test_a_training_that_ended_too_early_does_not_show_that_it_cannot_fit():
    row = {"n": 5, "built_train": 1.0, "trained_train": 0.4, "built_test": 0.1, "trained_test": 0.1}

    def verdict(losses):
        (spec,) = TINY.cifar.specs("alexnet")
        run = Run(spec, Path("run"), "done", {"train_accuracy": 0.4}, {})
        run.__dict__["history"] = pd.DataFrame({"train_loss": losses})
        return {claim.name: claim.verdict for claim in theorem1._claims([], [row], [run])}["existence is not trainability"]

    assert verdict([2.0] * 8) == "holds"
    assert verdict([2.0, 2.0, 1.8, 1.8, 1.5, 1.5, 1.2, 1.2]) == "inconclusive"


def test_more_points_than_the_rule_is_for_are_not_missing_from_it(store):
    done, _, missing = Runs(store, TINY).records(theorem1.study_specs(TINY.capacity))

    def verdicts(n):
        spec = replace(missing.spec, params={**missing.spec.params, "n": n})
        found = theorem1._claims([done, Run(spec, Path("run"), "missing", {}, {})], [{"n": 5, **dict.fromkeys(TRAINED)}], [])
        return [claim.verdict for claim in found[:2]]

    assert verdicts(200_000) == ["missing", "holds"]
    assert verdicts(50_000) == ["missing", "missing"]


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("rademacher", ["--n", "30", "--draws", "2"]),
        ("stability", ["--n", "30", "--replaced", "2"]),
        ("shatter-point", ["--n-min", "20", "--n-max", "40", "--steps", "1"]),
    ],
)
def test_capacity_on_the_command_line(tmp_path, monkeypatch, capsys, what, options):
    monkeypatch.chdir(tmp_path)
    command = ["capacity", what, "--model", "nearest-neighbors", "--set", "n_neighbors=1", *options]
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["experiment"] == what
    page = (tmp_path / "capacity" / f"{what}-capacity.html").read_text()
    assert "nearest-neighbors n_neighbors=1" in page
    assert main(command) == 0
    assert "nearest-neighbors n_neighbors=1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rademacher", "--model", "svm"], "unknown model 'svm'"),
        (["rademacher", "--set", "epoch=3"], "unknown parameter of model 'network': 'epoch'"),
        (["stability", "--set", "network=mlp-0x3"], "unknown network 'mlp-0x3'"),
        (["shatter-point", "--accuracy", "2"], "accuracy is "),
        (["shatter-point", "--n-max", "7"], "n_max is 7"),
        (["rademacher", "--n", "5000"], "5000"),
    ],
)
def test_bad_capacity_commands(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["capacity", *arguments]) in (1, 2)
    assert message in "".join(capsys.readouterr())


def test_a_page_of_one_model_judges_networks_by_their_specification_and_no_other_models(store):
    """A page of the command line has the command's words as its title, such as "network epochs=3"."""
    closed, network, *others = Runs(store, TINY).records(rademacher.specs(TINY))

    def names(trained):
        return [claim.name for claim in rademacher.make_result("rademacher", "capacity", trained, closed).claims]

    judged, closed_forms = names({"network epochs=3": network})
    assert judged == "networks have a Rademacher complexity of about 1"
    assert names({"nearest-neighbors": others[0]}) == [closed_forms]
    one = {"labels": "original labels", "uniform": 1.0, "own": 0.5, "own_bounds": (0.4, 0.6), "labels_fitted": None}
    assert stability._claims([{**one, "model": "kernel ridge=1"}]) == []


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [(0.12, "holds"), (0.08, "holds"), (0.16, "inconclusive"), (0.3, "does not hold"), (None, "missing")],
)
def test_an_accuracy_far_from_chance_is_no_chance(accuracy, verdict):
    row = {"n": 5, **dict.fromkeys(TRAINED, 0.1), "trained_test": accuracy}
    claims = {claim.name: claim.verdict for claim in theorem1._claims([], [row], [])}
    assert claims["neither generalizes"] == verdict


@pytest.mark.parametrize(("largest", "verdict"), [(2.0, "holds"), (5.0, "does not hold")])
def test_weights_are_judged_by_the_bound_of_lemma_1(store, largest, verdict):
    done, *_ = Runs(store, TINY).records(theorem1.study_specs(TINY.capacity))
    made = replace(done)
    made.__dict__["table"] = done.table.assign(largest_weight=largest, weight_bound=4.0)
    found = {claim.name: claim.verdict for claim in theorem1._claims([made], [{"n": 5, **dict.fromkeys(TRAINED)}], [])}
    assert found["lemma 1 bounds the weights"] == verdict
