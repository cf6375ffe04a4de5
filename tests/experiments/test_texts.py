"""What the papers say beside their tables and figures: each claim on numbers that satisfy it, that spoil it, and that cannot decide it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shattering import InputError, Store
from shattering.experiments import convex, forgetting, inputs, loss_class, max_margin, passes, perceptron_bound, rademacher, steps_bound
from shattering.experiments.catalogue import find_experiments
from shattering.experiments.experiment import Runs
from shattering.experiments.reproduce import find_experiment, make_result
from shattering.experiments.scales import SCALES
from shattering.runs.store import Store as Folder
from tests.experiments.conftest import TINY

RESULTS = Store(Path(__file__).parents[2] / "results")

pytestmark = pytest.mark.usefixtures("results")


class Made(Runs):
    """Stored studies whose numbers, and whose tables, are changed."""

    def __init__(self, numbers, table):
        super().__init__(RESULTS, SCALES["small"])
        self.numbers, self.change = numbers, table

    def records(self, specs):
        stored = [record for record in super().records(specs) if record.result]
        made = [replace(record, result=record.result | self.numbers) for record in stored]
        for one, record in zip(made, stored, strict=True):
            one.__dict__["table"] = self.change(record.table.copy())
        return made


def verdict(experiment, claim, numbers=None, table=lambda t: t):
    found = find_experiment(experiment).result(SCALES["small"], Made(numbers or {}, table)).claims
    return next(c for c in found if c.name == claim).verdict


HOLDS = {
    "random pixels are farther apart": "inputs",
    "so arbitrary labels are easier": "inputs",
    "convex problems need regularization": "convex",
    "early stopping regularizes convex problems": "convex",
    "contraction bounds the loss class": "loss-class",
    "the 0-1 losses have half the complexity": "loss-class",
    "the fat-shattering dimension is trivial too": "fat-shattering",
    "any real function of a sample": "expressivity",
    "far fewer weights than O(dn)": "expressivity",
    "not stable for many passes": "passes",
    "steps bound the stability of SGD": "steps-bound",
    "allowing only a very few passes": "steps-bound",
    "the perceptron's error is at most mistakes / (n + 1)": "perceptron-bound",
    "and the bound tells something": "perceptron-bound",
    "descent is biased to the largest margin": "max-margin",
    "random labels are forgotten more often": "forgetting",
    "natural data have examples that are easy for all": "forgetting",
}


def test_what_is_stored_satisfies_every_claim():
    made = [make_result(name, SCALES["small"], RESULTS) for name in find_experiments("all-texts")]
    found = {c.name: (result.name, c.verdict) for result in made for c in result.claims if not result.not_done}
    whole = {result.name for result in made if not result.not_done}
    assert found == {claim: (name, "holds") for claim, name in HOLDS.items() if name in whole}


@pytest.mark.parametrize(
    ("claim", "numbers"),
    [
        ("random pixels are farther apart", {"random pixels, nearest": 0.3}),
        ("random pixels are farther apart", {"shuffled pixels, nearest": 2.0}),
        ("so arbitrary labels are easier", {"Gaussian pixels, margin": 0.0}),
        ("so arbitrary labels are easier", {"Gaussian pixels, margin": 0.0, "original, margin": 0.0}),
        ("contraction bounds the loss class", {"hinge": 0.5}),
        ("the 0-1 losses have half the complexity", {"0-1": 0.3}),
        ("allowing only a very few passes", {"rate": 1e-5}),
        ("the perceptron's error is at most mistakes / (n + 1)", {"50, error": 0.9}),
        ("and the bound tells something", {"200, bound": 0.6}),
        ("descent is biased to the largest margin", {"least": 0.5}),
        ("descent is biased to the largest margin", {"1, margin": 0.99}),
        ("random labels are forgotten more often", {"random, events": 0.15, "original, events": 0.1}),
        ("natural data have examples that are easy for all", {"original, agreement": 0.05, "random, agreement": 0.0}),
    ],
)
def test_spoiled_numbers_do_not_satisfy_a_claim(claim, numbers):
    # made-up numbers are the same for every seed, so that intervals are points
    assert verdict(HOLDS[claim], claim, numbers) == "does not hold"


@pytest.mark.parametrize(
    ("claim", "column", "value"),
    [
        ("the fat-shattering dimension is trivial too", "network", 0.9),
        ("the fat-shattering dimension is trivial too", "bound", 1e9),
        ("any real function of a sample", "error", 0.1),
        ("any real function of a sample", "ours", 7),
        ("far fewer weights than O(dn)", "theirs", 1000),
        ("steps bound the stability of SGD", "measured", 1e3),
        ("allowing only a very few passes", "measured", 0.5),
        ("convex problems need regularization", "error", 1.0),
        ("not stable for many passes", "weights", 0.1),
        ("not stable for many passes", "loss", 0.1),
    ],
)
def test_spoiled_tables_do_not_satisfy_a_claim(claim, column, value):
    assert verdict(HOLDS[claim], claim, table=lambda t: t.assign(**{column: value})) == "does not hold"


@pytest.mark.parametrize("than", ["none", "ridge"])
def test_stopping_early_has_to_be_better_than_nothing_and_as_good_as_ridge(than):
    def spoiled(table):
        errors = table.pivot_table(index="problem", columns="way", values="error")
        worse = 2 * errors[than].loc[table["problem"]].to_numpy()
        return table.assign(error=np.where(table["way"] == "early stopping", worse, table["error"]))

    name = "early stopping regularizes convex problems"
    assert verdict("convex", name, table=spoiled) == "does not hold"


def test_one_problem_among_many_does_not_decide_by_the_size_of_its_error():
    """The means of the errors differ by far more than a factor of two, and most ratios do not."""

    def spoiled(table):
        is_plain = table["way"] == "none"
        ridge = table.loc[table["way"] == "ridge"].set_index("problem")["error"].loc[table["problem"]].to_numpy()
        return table.assign(error=np.where(is_plain, ridge * np.where(table["problem"] == 0, 1000.0, 1.1), table["error"]))

    assert verdict("convex", "convex problems need regularization", table=spoiled) == "does not hold"


@pytest.mark.parametrize(
    ("claim", "numbers"),
    [
        ("convex problems need regularization", {"needed, interval": [-1.0, 1.0]}),
        ("early stopping regularizes convex problems", {"as good, interval": [-1.0, 1.0]}),
        ("contraction bounds the loss class", {"hinge, error": 1.0}),
        ("not stable for many passes", {"growth, loss": [-1.0, 1.0]}),
        ("the perceptron's error is at most mistakes / (n + 1)", {"50, slack": 1.0}),
    ],
)
def test_noise_decides_nothing(claim, numbers):
    assert verdict(HOLDS[claim], claim, numbers) == "inconclusive"


def test_too_few_seeds_decide_nothing(monkeypatch):
    monkeypatch.setattr(forgetting, "SEEDS", 2)
    assert verdict("forgetting", "random labels are forgotten more often") == "inconclusive"


@pytest.mark.parametrize(
    ("claim", "key", "values", "holds"),
    [
        ("random labels are forgotten more often", "events", {"original": (1.0, 1.0, 1.0), "random": (1.5, 2.2, 2.6)}, "inconclusive"),
        ("random labels are forgotten more often", "events", {"original": (1.0, 1.0, 1.0), "random": (2.5, 2.6, 2.7)}, "holds"),
        ("random labels are forgotten more often", "events", {"original": (1.0, 1.0, 1.0), "random": (1.5, 1.6, 1.7)}, "does not hold"),
        (
            "natural data have examples that are easy for all",
            "agreement",
            {"original": (0.2, 0.3, 0.4), "random": (0.1,) * 3},
            "inconclusive",
        ),
        ("natural data have examples that are easy for all", "agreement", {"original": (0.3, 0.31, 0.32), "random": (0.1,) * 3}, "holds"),
    ],
)
def test_forgetting_is_judged_by_whether_the_interval_has_the_rules_bound_in_it(monkeypatch, claim, key, values, holds):
    class BySeed(Made):
        def records(self, specs):
            made = super().records(specs)
            return [replace(r, result=r.result | {f"{k}, {key}": v[r.spec.seed] for k, v in values.items()}) for r in made]

    monkeypatch.setattr(forgetting, "SEEDS", 3)
    found = forgetting._claims(BySeed({}, lambda t: t).records(forgetting.specs(SCALES["small"])))
    assert next(c.verdict for c in found if c.name == claim) == holds


@pytest.mark.parametrize("name", find_experiments("all-texts"))
def test_nothing_is_judged_without_its_study(tmp_path, name):
    result = make_result(name, TINY, Folder(tmp_path))
    assert {claim.verdict for claim in result.claims} == {"missing"}
    assert not result.charts


def test_distances_and_margins_are_those_of_a_slow_version():
    numbers, table = inputs.run_study(3, n=30)
    assert numbers["original, nearest"] == pytest.approx(numbers["shuffled pixels, nearest"])
    assert table.groupby("inputs")["nearest"].median()["original"] == pytest.approx(numbers["original, nearest"])
    signs = np.array([1.0, -1.0])
    points = np.array([[1.0, 0.0], [0.0, 1.0]])

    class Fixed:
        def choice(self, _values, _n):
            return signs

    assert inputs._margin(torch.from_numpy(points), Fixed()) == pytest.approx(2**-0.5)  # type: ignore[arg-type]


def test_the_mistakes_of_a_perceptron_by_hand():
    weights, mistakes = perceptron_bound._converged(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([1, -1]))
    assert (weights.tolist(), mistakes) == ([1.0, -2.0], 2)


def test_the_margin_of_two_points_is_found_by_descent():
    numbers, _ = max_margin.run_study(1, n=6, d=3, steps=1000, repeats=2)
    assert numbers["1000, margin"] <= 1 + 1e-6


def test_what_is_constant_agrees_with_nothing():
    right = np.array([True, False])
    assert forgetting._correlation(right, np.array([True, True])) == 0
    assert forgetting._correlation(right, ~right) == pytest.approx(-1)


@pytest.mark.parametrize("loss", steps_bound.LOSSES, ids=lambda loss: loss.name)
def test_the_constants_of_the_losses_are_not_exceeded(loss):
    """At random logits, near a corner and in the middle of the simplex, on inputs of norm 1, where the weights' derivatives are these."""
    generator, label = torch.Generator().manual_seed(0), torch.tensor([3])

    def value(logits):
        return loss.values(logits[None], label[None])[0, 0]

    for scale in (0.0, 0.3, 1.0, 3.0, 10.0):
        logits = scale * torch.randn(1, 10, generator=generator, dtype=torch.float64)
        by_torch = torch.autograd.functional.jacobian(value, logits)[0]
        assert torch.allclose(by_torch, loss.slopes(logits, label)[0])
        assert by_torch.norm() <= loss.lipschitz
        hessian = torch.as_tensor(torch.autograd.functional.hessian(value, logits))[0, :, 0]
        assert torch.linalg.eigvalsh(hessian)[-1] <= loss.smooth


def test_the_bounds_of_steps_by_hand():
    convex, other = steps_bound.LOSSES
    assert convex.bound(400, 0.2, 200) == pytest.approx(2 * 2 * 0.2 * 400 / 200)
    c = 0.01 * 5
    b = 0.25 + 3 / 2**0.5
    assert other.bound(5, 0.01, 11) == pytest.approx(
        (1 + 1 / (b * c)) / 10 * (2 * c * 0.5) ** (1 / (b * c + 1)) * 5 ** (b * c / (b * c + 1))
    )
    for loss in steps_bound.LOSSES:
        assert loss.bound(loss.passes(0.2, 50) * 50, 0.2, 50) == pytest.approx(loss.trivial)


def test_studies_say_which_numbers_they_cannot_use(tmp_path):
    for study, wrong, message in (
        (convex, {"n": 50, "d": 60}, "expected fewer features than points"),
        (forgetting, {"trainings": 1}, "trainings is 1, expected a whole number of at least 2"),
        (steps_bound, {"rate": 4.5}, "rate is 4.5, expected a number above 0, at most 4"),  # theorem 3.8 says nothing of it
        (steps_bound, {"n": 5, "replaced": 6}, "replaced is 6, expected a whole number in 1…5"),
        (passes, {"n": 5, "replaced": 6}, "replaced is 6, expected a whole number in 1…5"),
        (loss_class, {"draws": 1}, "draws is 1, expected a whole number of at least 2"),  # for a standard error
    ):
        with pytest.raises(InputError, match=message):
            study.run_study(0, **wrong)
    with pytest.raises(InputError, match=r"gamma is 0\.0, expected a number above 0"):
        rademacher.run_classes_study(0, n=20, n_draws=2, gamma=0.0)


def test_studies_take_more_than_ten_classes(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (60, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "many.npz", x_train=images, y_train=np.arange(60) % 12, x_test=images[:24], y_test=np.arange(24) % 12)
    numbers, _ = passes.run_study(0, dataset=str(tmp_path / "many.npz"), n=36, n_test=20, passes=2, replaced=2)
    assert numbers["last, loss"] > 0
    numbers, _ = forgetting.run_study(0, dataset=str(tmp_path / "many.npz"), n=36, epochs=2, trainings=2)
    assert 0 <= numbers["original, never"] <= 1


def test_margins_that_are_all_zero_do_not_make_labels_easier():
    numbers, _ = inputs.run_study(0, n=100)
    assert all(numbers[f"{name}, margin"] == 0 for name in inputs.KINDS)
    assert inputs._claims(numbers)[1].verdict == "inconclusive"
    assert inputs._claims({})[1].verdict == "missing"


def test_the_gaussian_class_does_not_depend_on_where_the_points_are(tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 5))
    tables = []
    for offset in (0.0, 1e9):
        np.savez(tmp_path / "far.npz", x_train=X + offset, y_train=np.arange(40) % 2, x_test=X[:5], y_test=np.arange(5) % 2)
        tables.append(rademacher.run_classes_study(0, dataset=str(tmp_path / "far.npz"), n=30, n_draws=5, gamma=0.2)[1].iloc[1])
    assert tables[1]["value"] == pytest.approx(tables[0]["value"], rel=1e-5)
    assert tables[1]["bound"] == 30**-0.5
    np.savez(tmp_path / "far.npz", x_train=0 * X, y_train=np.arange(40) % 2, x_test=X[:5], y_test=np.arange(5) % 2)
    with pytest.raises(InputError, match="are zero, expected others"):
        rademacher.run_classes_study(0, dataset=str(tmp_path / "far.npz"), n=30, n_draws=5)


def test_what_is_never_learned_is_not_never_forgotten(monkeypatch):
    right = np.array([[False, True, True, True], [False, True, False, True], [False, True, True, True]])  # after three epochs
    monkeypatch.setattr(forgetting, "_correct", lambda *_: right)
    numbers, table = forgetting.run_study(0, n=4, epochs=3)
    assert (numbers["random, never"], numbers["random, events"]) == (0.5, 0.25)
    assert set(table["events"]) == {0, 1}
