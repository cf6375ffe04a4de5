"""Capacity in bits: of models whose memory is known, stored and continued, on the page and on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from shattering import InputError, Store
from shattering.cli import main
from shattering.experiments import bit_capacity as module
from shattering.experiments.bit_capacity import BitCapacity, bit_capacity, gap
from shattering.experiments.bits import make_result
from shattering.runs.stored import Run
from shattering.runs.study import StudySpec


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("bits"))


@pytest.fixture(scope="module")
def forest(store):
    """A tree of 8 leaves on random and on true labels."""
    tree = {"n_estimators": 1, "bootstrap": False, "max_leaf_nodes": 8}
    search = {"n_min": 20, "n_max": 160, "steps": 1, "hyperparameters": tree, "store": store}
    return {labels: bit_capacity("random-forest", "digits", labels=labels, **search) for labels in ("random", "true")}


def test_a_lookup_table_measures_what_it_stores(store):
    """The nearest neighbor stores every label."""
    found = bit_capacity(KNeighborsClassifier(1), "digits", n_min=20, n_max=40, steps=1, n_seeds=1, store=store)
    assert found.is_open
    assert [row["n"] for row in found.rows] == [20, 40]
    for row in found.rows:
        assert row["most"] == pytest.approx(row["n"] * np.log2(10))
        assert row["bits"] == pytest.approx(row["most"] - 1), "its probabilities are a code without overhead; one bit says that it is used"
        assert row["n_parameters"] == row["n"]


def test_a_tree_of_few_leaves(forest):
    """It has 8 leaves, each with the shares of ten classes, and 7 splits: it cannot carry many bits, and more of true labels."""
    random, true = forest["random"], forest["true"]
    assert {row["n_parameters"] for row in random.rows if row["n"] == 160} == {8 * 9 + 7 * 2}
    assert random.bits
    assert random.interval
    assert 8 < random.bits < 8 * np.log2(10) + 7 * 2 * np.log2(64 * 160), "leaves, and which of 64 features at which of n thresholds"
    assert random.interval[0] <= random.bits <= random.interval[1]
    ratios = [row["bits"] / row["n_parameters"] for row in random.best.values()]
    assert random.bits_per_parameter == pytest.approx(np.mean(ratios))
    assert random.interval_per_parameter == pytest.approx((min(ratios), max(ratios)), rel=1e-3), "of three seeds it is their range"
    found = gap(true, random)
    assert found
    assert found[0] == pytest.approx(np.mean([true.best[seed]["bits"] - random.best[seed]["bits"] for seed in range(3)]))
    assert found[1]
    assert found[1][0] > 0
    assert all(row["bits"] <= row["most"] for row in random.rows + true.rows)


def test_every_fit_is_stored_and_used_again(store, forest):
    before = {file: file.stat().st_mtime_ns for file in store.root.rglob("*.json")}
    again = bit_capacity(
        "random-forest",
        "digits",
        n_min=20,
        n_max=160,
        steps=1,
        hyperparameters={"n_estimators": 1, "bootstrap": False, "max_leaf_nodes": 8},
        store=store,
    )
    assert again.rows == forest["random"].rows
    assert {file: file.stat().st_mtime_ns for file in store.root.rglob("*.json")} == before


def test_objects_of_the_user_are_stored_by_their_content(store):
    X, y = np.random.default_rng(0).normal(size=(60, 5)), np.arange(60) % 3
    seen: list[list[str]] = []
    for model in (KNeighborsClassifier(1), KNeighborsClassifier(1), KNeighborsClassifier(3)):
        found = bit_capacity(model, (X, y), n_min=30, n_seeds=1, store=store)
        seen.append([run.run_id for run in found.runs])
    assert seen[0] == seen[1]
    assert set(seen[2]).isdisjoint(seen[0])
    run = store.find(seen[0][0])
    assert run.spec.title == "bits, dataset = arrays, model = KNeighborsClassifier, n = 30"
    assert run.result["model"] == "KNeighborsClassifier(n_neighbors=1)"


def test_a_torch_module_without_a_store():
    found = bit_capacity(
        lambda _, k: nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, k)),
        hyperparameters={"epochs": 200, "learning_rate": 0.1, "stop_when_fitted": True},
        n_seeds=1,
        n_min=20,
        n_max=40,
        steps=1,
    )
    assert found.bits
    assert found.bits == pytest.approx(40 * np.log2(10), rel=0.1), "it fits 40 random labels"
    assert found.bits_per_parameter == pytest.approx(found.bits / (64 * 32 + 32 + 32 * 10 + 10))
    assert found.interval is None, "one seed"


def test_probabilities_say_more_than_labels_of_a_model_that_does_not_fit():
    """Logistic regression on two features memorizes little; its predicted labels alone would not even show that."""
    X = np.random.default_rng(0).normal(size=(400, 2))
    found = bit_capacity(LogisticRegression(), (X, np.arange(400) % 2), n_min=400, n_seeds=3)
    assert all(-1.5 < row["bits"] < 10 for row in found.rows)


@pytest.mark.parametrize(("peak", "tried"), [(0, 9), (4, 9), (12, 13), (20, 15)])
def test_the_search_finds_the_peak(peak, tried):
    sizes = []

    def bits(n: int) -> float:
        sizes.append(n)
        return -abs(np.log2(n / (100 * 2 ** (peak / 2))))

    assert module._search(bits, lambda k: min(10**6, round(100 * 2 ** (k / 2))), 10, 2) == round(100 * 2 ** (peak / 2))
    assert len(sizes) <= tried
    assert len(sizes) == len(set(sizes))


def test_the_search_goes_down():
    assert module._search(lambda n: -n, lambda k: round(100 * 2 ** (k / 2)), 20, 2) == 25


def test_the_page_has_tables_claims_and_a_chart(store, forest):
    result = make_result({"tree": forest})
    (row,) = result.tables[0].rows
    assert row["random"] == forest["random"].bits
    assert 70 <= row["parameters"] <= 86
    assert len(result.tables[1].rows) == len(forest["random"].rows) + len(forest["true"].rows)
    assert list(result.charts) == ["bits"]
    assert json.dumps(result.to_json(), allow_nan=False)
    assert (row["gap"], result.claims) == (None, []), "random labels, too, have the most bits at the largest n: the gap has no bound"
    table = bit_capacity(KNeighborsClassifier(1), "digits", n_min=20, n_max=40, steps=1, n_seeds=1, store=store)
    full = make_result({"table": {"random": table, "true": table}})
    assert not full.claims, "what fits the random labels of the largest n has no gap to be measured"
    assert full.tables[0].rows[0]["gap"] is None


def made(labels, *seeds, most=1000.0, parameters=100):
    """A capacity of made-up fits: of each seed n → bits."""
    runs = []
    for seed, bits in enumerate(seeds):
        for n, value in bits.items():
            spec = StudySpec("bits", {"labels": labels, "n": n}, seed)
            result = {"data": "made", "n": n, "accuracy": 0.5, "bits": value, "most": most, "n_parameters": parameters}
            runs.append(Run(spec, Path(spec.folder_name), "done", result, {}))
    return BitCapacity(labels, tuple(runs))


def three(labels, *bits, **more):
    """The same of three seeds, with bits at n = 100, 200 and so on, less a bit per seed."""
    return made(labels, *({100 * (k + 1): value - seed for k, value in enumerate(bits)} for seed in range(3)), **more)


RANDOM = three("random", 50, 60, 40)


def test_only_the_bits_at_the_largest_n_tell_whether_n_limits_them():
    assert three("random", 50, 60, 990).is_full
    assert not three("random", 50, 60, 900).is_full
    mixed = made("random", {100: 50.0, 200: 60.0}, {100: 99.0, 200: 40.0}, most=100.0)
    assert mixed.is_open, "the first seed has the most bits at n = 200"
    assert not mixed.is_full, "and the second carries all labels of n = 100 alone"


@pytest.mark.parametrize(
    ("true", "shown", "verdict"),
    [
        (three("true", 50, 160, 40), "100", "holds"),
        (three("true", 50, 60, 160), "≥ 100", "holds"),
        (three("true", 50, 40, 30), "-10", "does not hold"),
        (three("true", 30, 40, 50), "≥ -10", "inconclusive"),
        (made("true", {100: 30.0, 200: 70.0}, {100: 30.0, 200: 55.0}, {100: 20.0, 200: 58.0}), "≥ 2", "inconclusive"),
    ],
    ids=["more", "more yet", "fewer", "fewer so far", "more or fewer"],
)
def test_the_gap_is_judged_by_its_interval(true, shown, verdict):
    found = make_result({"x": {"random": RANDOM, "true": true}})
    assert found.tables[0].rows[0]["gap"].startswith(shown)
    (claim,) = found.claims
    assert claim.verdict == verdict
    assert (claim.why != "") == (verdict == "inconclusive")


def test_one_model_with_fewer_bits_of_true_labels_is_enough():
    fewer, unclear = three("true", 50, 40, 30), three("true", 50, 60, 40)
    (claim,) = make_result({"x": {"random": RANDOM, "true": fewer}, "y": {"random": RANDOM, "true": unclear}}).claims
    assert claim.verdict == "does not hold"


def test_there_is_no_gap_to_random_labels_that_may_have_more_bits():
    found = make_result({"x": {"random": three("random", 40, 50, 60), "true": three("true", 50, 160, 40)}})
    assert (found.tables[0].rows[0]["gap"], found.claims) == (None, [])


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        (three("random", 50, 70, 40), "holds"),
        (three("random", 50, 160, 40), "does not hold"),
        (three("random", 40, 60, 70), "inconclusive"),
        (three("random", 40, 60, 160), "does not hold"),
        (three("random", 40, 60, 990), None),
    ],
    ids=["as many", "twice as many", "as many so far", "twice as many so far", "all"],
)
def test_bits_in_proportion_to_parameters_are_judged_for_networks_that_n_does_not_limit(other, verdict):
    claims = make_result({"MLP a": {"random": RANDOM}, "MLP b": {"random": other}}).claims
    assert [claim.verdict for claim in claims] == ([verdict] if verdict else [])


def test_no_fits():
    empty = BitCapacity("random", ())
    assert (empty.bits, empty.bits_per_parameter, empty.interval, empty.is_open) == (None, None, None, False)
    assert make_result({"none": {"random": empty}}).charts == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "permuted"}, "unknown labels 'permuted'"),
        ({"n_min": 5}, "n_min is 5 and n_max is 1297, expected 10 <= n_min"),
        ({"n_max": 5000}, "n_max is 5000"),
        ({"steps": 0}, "steps is 0"),
        ({"n_seeds": 0}, "n_seeds is 0"),
        ({"hyperparameters": {"n_neighbours": 3}}, "n_neighbours"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message):
        bit_capacity("nearest-neighbors", "digits", **options)


def test_bits_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = [
        "capacity",
        "bits",
        "nearest-neighbors",
        "--set",
        "n_neighbors=1",
        "--n-min",
        "20",
        "--n-max",
        "40",
        "--seeds",
        "1",
        "--json",
    ]
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["experiment"] == "bits"
    assert "nearest-neighbors n_neighbors=1" in (tmp_path / "capacity" / "bits-capacity.html").read_text()


def test_a_gap_of_the_wrong_labels_is_refused(forest):
    with pytest.raises(InputError, match="true is of random labels and random of true labels"):
        gap(forest["random"], forest["true"])


def test_bits_are_measured_on_a_split_of_classes():
    with pytest.raises(InputError, match=r"train is .* expected a Split"):
        module.measure(KNeighborsClassifier(1), (np.ones((2, 2)), np.arange(2)), "classes")  # type: ignore[arg-type]
