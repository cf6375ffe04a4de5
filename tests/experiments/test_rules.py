"""The definitions and rules by which results are judged, on made-up runs."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shattering import InputError, Store
from shattering.experiments import figure1a, figure1b, figure1c, figure2b, reference, table1, table4
from shattering.experiments.catalogue import EXPERIMENTS, GROUPS, find_experiments
from shattering.experiments.experiment import Column, Outcome, Runs, answers, cut_short, few_seeds, is_stuck, judge, not_annealed, show
from shattering.experiments.reproduce import experiment_specs, find_experiment, settles
from shattering.experiments.scales import CORRUPTIONS, NETWORKS, SCALES, CifarScale
from shattering.report.charts import to_spec
from shattering.runs.fit import early_stopping
from shattering.runs.spec import MODEL_KEY
from shattering.runs.stored import Run
from tests.experiments.conftest import TINY


def history(accuracies, losses=None, tests=None, step=10):
    n = len(accuracies)
    return pd.DataFrame(
        {
            "epoch": range(1, n + 1),
            "step": [step * (i + 1) for i in range(n)],
            "train_accuracy": accuracies,
            "train_loss": losses or [1 - a for a in accuracies],
            "learning_rate": [0.1 * 0.1 ** (i / max(n - 1, 1)) for i in range(n)],
            "test_accuracy": tests or [0.1] * n,
        }
    )


def test_an_accuracy_to_overfit_is_a_share():
    with pytest.raises(InputError, match="accuracy is 95, expected a number in 0…1"):
        figure1b.time_to_overfit(history([0.2, 0.96]), accuracy=95)


def test_time_to_overfit_is_the_end_of_the_first_epoch_at_95_percent():
    assert figure1b.time_to_overfit(history([0.2, 0.9499, 0.95, 0.3, 1.0])) == 30
    assert figure1b.time_to_overfit(history([0.96])) == 10
    assert figure1b.time_to_overfit(history([0.2, 0.9])) is None
    assert figure1b.time_to_overfit(history([0.2, 0.9]), accuracy=0.9) == 20
    assert figure1b.time_to_overfit(history([])) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0, 1))
def test_time_to_overfit_is_the_least_step_that_qualifies(accuracies, threshold):
    table = history(accuracies)
    qualified = table.loc[table["train_accuracy"] >= threshold, "step"]
    assert figure1b.time_to_overfit(table, threshold) == (None if qualified.empty else qualified.min())


def test_a_run_converges_when_its_loss_falls_below_half_of_guessing():
    assert figure1a.steps_to_converge([2.3, 1.16, 1.15, 0.1], [5, 10, 15, 20], 10) == 15
    assert figure1a.steps_to_converge([2.3, 2.2], [5, 10], 10) is None


def test_early_stopping_is_the_first_best_epoch_and_rigorous_with_a_validation_split():
    table = history([0.1] * 4, tests=[0.3, 0.5, 0.5, 0.4])
    assert early_stopping(table) == {"best_test_accuracy": 0.5, "best_test_epoch": 2}
    found = early_stopping(table.assign(validation_accuracy=[0.2, 0.3, 0.1, 0.6]))
    assert (found["best_validation_epoch"], found["test_accuracy_at_best_validation"]) == (4, 0.4)
    assert early_stopping(pd.DataFrame()) == {}
    assert figure2b.best_so_far(table).tolist() == [0.3, 0.5, 0.5, 0.5]


# as many seeds as comparisons of test accuracies need, and all images, as the paper's coefficient of weight decay needs
THREE = replace(TINY, cifar=replace(TINY.cifar, seeds=dict.fromkeys(NETWORKS, 3), n_train=None))
ONE = replace(TINY, cifar=replace(TINY.cifar, n_train=None))


class Made(Runs):
    """Runs whose results are given by a function of their specification; None: missing."""

    def __init__(self, make, scale=TINY):
        super().__init__(Store(Path("nowhere")), scale)
        self.make = make

    def _find(self, spec):
        made = self.make(spec)
        run = Run(spec, Path(spec.folder_name), "missing" if made is None else "done", {}, {})
        if made is not None:
            result, table = made
            defaults = {
                "n_test": 1000,
                "n_train": 30,
                "n_classes": 10,
                "image_shape": [3, 28, 28],
                "epochs": len(table),
                "dataset": "made",
                "interpolated": True,
            }
            online = float(table["train_accuracy"].iloc[-1])
            run.result.update(defaults | {"online_train_accuracy": online, **early_stopping(table)} | result)
            run.__dict__["history"] = table
        self.seen[spec.run_id] = run
        return run


def as_in_the_paper(spec):
    """Numbers that satisfy every claim."""
    network, labels, params = spec.model_name, spec.randomization.labels, spec.params
    noise = spec.randomization.pixels in ("random", "gaussian")
    best = {"inception": 0.86, "inception-no-bn": 0.825}.get(network, 0.6)
    regularized = 0.02 * ("augment" in params) + 0.01 * ("weight_decay" in params)
    test = 0.1 + (best - 0.1) * (1 - labels) + regularized * (1 - labels)
    fails = network == "alexnet" and labels == 1 and params.get("weight_decay", 0) >= 5e-4
    sped_up = network == "mlp-3x512" and labels == 0 and "weight_decay" in params
    epochs = 3 if sped_up else 4 if noise else 5 + round(10 * labels)
    accuracies = [0.1] * (epochs - 1) + [0.12 if fails else 1.0]
    first = 2.0 if network == "inception-no-bn" and labels == 0 else 2.3  # from which the loss rises
    table = history(accuracies, [first, *[2.3] * (epochs - 2), 2.3 if fails else 0.01], [test] * epochs)
    if spec.n_validation:
        table = table.assign(validation_accuracy=table["test_accuracy"])
    return {"train_accuracy": accuracies[-1], "test_accuracy": test}, table


def claims(make, scale=THREE, experiments=None):
    names = experiments or find_experiments("all-cifar")
    return {c.name: c for name in names for c in find_experiment(name).result(scale, Made(make, scale)).claims}


def claim_of(name, make):
    """A claim, of the one experiment that makes it."""
    return claims(make, experiments=[_experiments()[name]])[name]


@cache
def _experiments():
    return {claim: name for name in find_experiments("all-cifar") for claim in claims(as_in_the_paper, experiments=[name])}


def test_numbers_as_in_the_paper_satisfy_every_claim():
    found = claims(as_in_the_paper)
    assert len(found) == 22
    assert {name: c.evidence for name, c in found.items() if not c.holds} == {}


def test_the_papers_own_numbers_satisfy_the_claims_of_table_1():
    rows = {spec.run_id: row for row in reference.TABLE_1 for spec in table1.row_specs(THREE, row)}
    rows |= {spec.run_id: reference.table_1("mlp-1x512", random_labels=True) for spec in table1.slower_specs(THREE)}

    def make(spec):
        row = rows[spec.run_id]
        return {"train_accuracy": row.train / 100, "test_accuracy": row.test / 100}, history([1.0])

    result = table1.result(THREE, Made(make, THREE))
    of_histories = ("weight decay sometimes helps optimization", "batch normalization stabilizes training")
    assert {c.name: c.holds for c in result.claims if not c.holds} == dict.fromkeys(of_histories), "the paper has no numbers of them"
    assert {row["verdict"] for row in result.tables[0].rows} == {"train ≥ 99%: yes; test within 3 points: yes"}


def spoil(matches, **result):
    def make(spec):
        made, table = as_in_the_paper(spec)
        return (made | result, table) if matches(spec) else (made, table)

    return make


def stuck(matches):
    """Runs whose loss has stopped falling before they fit."""

    def make(spec):
        made, table = as_in_the_paper(spec)
        return (made | {"train_accuracy": 0.98}, history([0.98] * 8, [0.2] * 8)) if matches(spec) else (made, table)

    return make


def is_(network, labels=None, pixels="true", **params):
    def matches(spec):
        r = spec.randomization
        named = all((name in spec.params) == wanted for name, wanted in params.items())
        return spec.model_name == network and labels in (None, r.labels) and r.pixels == pixels and named

    return matches


def slow(epochs, matches):
    """Runs that take longer."""

    def make(spec):
        made, table = as_in_the_paper(spec)
        n = len(table)
        late = history([0.1] * epochs + [1.0], [2.3] * epochs + [0.01], [table["test_accuracy"].iloc[-1]] * (epochs + 1))
        return (made, late) if matches(spec) and n else (made, table)

    return make


def faster(*epochs):
    """Networks that take so many epochs with weight decay for each seed, and 40 without."""

    def make(spec):
        made, _ = as_in_the_paper(spec)
        n = epochs[spec.seed] if "weight_decay" in spec.params else 40
        return made, history([0.1] * (n - 1) + [1.0])

    return make


def bumpy(matches):
    """Runs whose loss rises far."""

    def make(spec):
        made, table = as_in_the_paper(spec)
        return (made, history([0.1] * 4 + [1.0], [0.5, 0.5, 4.0, 2.3, 0.01])) if matches(spec) else (made, table)

    return make


def creeping(spec):
    """Runs whose loss falls at once and which fit late."""
    made, _ = as_in_the_paper(spec)
    return made, history([0.6] * 9 + [1.0], [1.0] * 9 + [0.01])


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("everything fits random labels", stuck(is_("mlp-1x512", 1.0, weight_decay=False))),
        ("MLP 1x512 fits them at a slower decay", stuck(is_("mlp-1x512", 1.0, decay=True))),
        ("regularizers help", spoil(is_("mlp-3x512", 0.0, weight_decay=True), test_accuracy=0.2)),
        ("regularizers help", spoil(lambda spec: "augment" in spec.params, test_accuracy=0.3)),
        ("regularizers are not needed", spoil(lambda spec: spec.randomization.labels == 0, test_accuracy=0.2)),
        ("regularizers are not needed", spoil(is_("alexnet", 0.0, augment=False, weight_decay=False), test_accuracy=0.4)),
        ("changing the architecture gains more", spoil(is_("mlp-1x512", 0.0, weight_decay=True), test_accuracy=0.95)),
        ("AlexNet and MLPs converge to zero loss", stuck(is_("mlp-1x512", 1.0, weight_decay=False))),
        ("random labels teach nothing", spoil(is_("alexnet", 1.0), test_accuracy=0.2)),
        ("batch normalization stabilizes training", bumpy(is_("inception", 0.0))),
        ("every share of corrupted labels is fitted", stuck(is_("alexnet", 0.5))),
        ("no gain by early stopping, MLPs", spoil(is_("mlp-1x512", 0.0, weight_decay=False), best_test_accuracy=0.9)),
        ("once fitting starts, it converges quickly", creeping),
        ("noise is fitted", stuck(is_("inception", 0.0, "shuffled"))),
        ("noise pixels converge before random labels", slow(30, is_("inception", 0.0, "gaussian"))),
        ("time to overfit grows by a small factor", slow(90, is_("alexnet", 1.0, weight_decay=False))),
        ("time to overfit grows by a small factor", slow(30, is_("mlp-1x512", 0.0))),
        ("time to overfit grows by a small factor, MLPs", slow(200, is_("mlp-3x512", 1.0, weight_decay=False))),
        ("test error rises steadily to chance", spoil(is_("mlp-1x512", 0.5), test_accuracy=0.12)),
        ("test error rises steadily to chance", spoil(is_("inception", 1.0), test_accuracy=0.2)),
        ("no gain by early stopping, at best", spoil(is_("inception-no-bn", 0.0), best_test_accuracy=0.9)),
        ("no gain by early stopping, rigorously", spoil(is_("inception", 0.0), test_accuracy_at_best_validation=0.9)),
        ("batch normalization is worth a few points", spoil(is_("inception-no-bn", 0.0), test_accuracy=0.7)),
        ("regularizers do not prevent fitting", stuck(is_("inception", 1.0, augment=True))),
        ("weight decay sometimes helps optimization", faster(50, 52, 51)),
        ("AlexNet alone fails with weight decay", stuck(is_("mlp-1x512", 1.0, weight_decay=True))),
    ],
)
def test_every_claim_can_fail(name, make):
    claim = claim_of(name, make)
    assert claim.holds is False
    assert claim.verdict == "does not hold"


def unfinished(matches):
    """Runs whose epochs end while the loss falls fast."""

    def make(spec):
        made, table = as_in_the_paper(spec)
        falling = history([0.1 + 0.05 * i for i in range(8)], [2.3, 2.3, 2.2, 2.1, 1.9, 1.6, 1.2, 0.9], [0.3] * 8)
        return (made | {"train_accuracy": 0.45}, falling) if matches(spec) else (made, table)

    return make


def test_a_model_whose_training_ended_too_early_shows_nothing():
    make = unfinished(is_("inception-no-bn", 1.0))
    claim = claim_of("everything fits random labels", make)
    assert (claim.verdict, claim.holds) == ("inconclusive", None)
    assert claim.why == "the training of inception-no-bn ended while its loss still fell"
    slower = claim_of("MLP 1x512 fits them at a slower decay", unfinished(is_("mlp-1x512", 1.0, decay=True)))
    assert slower.why == "the training of mlp-1x512 ended while its loss still fell"
    noise = claim_of("noise is fitted", unfinished(is_("inception", 0.0, "shuffled")))
    assert noise.why == "the training of inception ended while its loss still fell"
    rows = table1.result(THREE, Made(make, THREE)).tables[0].rows
    assert [row["verdict"] for row in rows if row["train"] == 0.45] == [f"inconclusive: {claim.why}"]


def test_what_the_texts_say_of_table_1_and_figure_1a_is_left_open_where_runs_cannot_tell():
    def verdict(name, make):
        return claim_of(name, make).verdict

    assert verdict("once fitting starts, it converges quickly", unfinished(is_("inception", 1.0))) == "inconclusive"
    close = spoil(lambda spec: spec.randomization.labels == 0, test_accuracy=0.6)
    assert verdict("changing the architecture gains more", close) == "inconclusive"
    claim = claim_of("weight decay sometimes helps optimization", lambda spec: (as_in_the_paper(spec)[0], history([0.1, 1.0])))
    assert (claim.verdict, claim.why) == ("inconclusive", "no network's interval lies below 1, and not every one's above 0.95")
    assert claim_of("weight decay sometimes helps optimization", unfinished(is_("inception-no-bn"))).verdict == "holds", (
        "the others can tell"
    )


def test_augmented_images_that_are_not_fitted_yet_are_no_failure():
    def make(spec):
        made, table = unfinished(is_("inception", 1.0, augment=True))(spec)
        return (made | {"train_accuracy": 1.0, "epochs_to_fit": 7}, table) if "augment" in spec.params else (made, table)

    claim = claim_of("regularizers do not prevent fitting", make)
    assert (claim.verdict, claim.why) == ("inconclusive", "the training of inception ended while its loss still fell")
    rows = table4.result(THREE, Made(make, THREE)).tables[0].rows
    assert {row["verdict"] for row in rows if row["train"] < 0.99 and "weight" not in row["regularizer"]} == {f"inconclusive: {claim.why}"}


@pytest.mark.parametrize(
    ("epochs", "verdict"),
    [
        ((20, 21, 22), "holds"),
        ((36, 30, 38), "inconclusive"),
        ((40, 41, 40), "does not hold"),
        ((50, 52, 51), "does not hold"),
        ((80, 40, 60), "inconclusive"),
    ],
    ids=["half", "a little less, on each seed", "as many", "more", "more or fewer"],
)
def test_weight_decay_speeds_a_network_up_if_that_is_no_chance(epochs, verdict):
    assert claim_of("weight decay sometimes helps optimization", faster(*epochs)).verdict == verdict


def test_chance_seldom_speeds_a_network_up():
    """That all seeds of one network in five are faster happens by chance in nearly half of all cases, and shows nothing."""
    generator = np.random.default_rng(0)
    name = "weight decay sometimes helps optimization"

    def population(spec):
        made, _ = as_in_the_paper(spec)
        return made, history([0.1] * int(generator.integers(90, 110)) + [1.0])

    assert sum(claims(population, experiments=["table1"])[name].holds is True for _ in range(30)) <= 3


def test_a_factor_has_an_interval_and_decides_nothing_where_1_is_in_it():
    def run_of(epochs, seed=0):
        (run, *_) = Made(lambda _: ({}, history([0.1] * (epochs - 1) + [1.0]))).outcome(TINY.cifar.specs("alexnet")).runs
        return run

    assert figure1b.factor_interval([(run_of(5), run_of(10))]) == (90 / 50, 100 / 40)
    low, high = figure1b.factor_interval([(run_of(5), run_of(10)), (run_of(5), run_of(20))])
    assert low < 2 < 4 < high
    assert (
        figure1b.factor_interval([(run_of(5), Made(lambda _: ({}, history([0.1]))).outcome(TINY.cifar.specs("alexnet")).runs[0])]) is None
    )
    one = {claim.name: claim for claim in figure1b.result(TINY, Made(as_in_the_paper)).claims}["time to overfit grows by a small factor"]
    assert (one.verdict, one.why) == ("inconclusive", "1 seed for some of the numbers, fewer than 2"), "an epoch is no interval over seeds"
    claim = claim_of("time to overfit grows by a small factor, MLPs", slow(5, is_("mlp-3x512", 1.0, weight_decay=False)))
    assert claim.verdict == "inconclusive"
    assert claim.why.startswith("MLP 3x512: the factor is between 1.00 and")


def test_comparisons_need_seeds_and_training_to_the_end():
    compared = ["regularizers help", "batch normalization is worth a few points"]
    stopped = ["no gain by early stopping, at best", "no gain by early stopping, rigorously"]
    one = claims(as_in_the_paper, ONE)
    assert {one[name].why for name in (*compared, *stopped)} == {"1 seed for some of the numbers, fewer than 3"}
    short = claims(unfinished(is_("inception-no-bn", 0.0)))
    assert {short[name].verdict for name in compared} == {"inconclusive"}


def test_accuracies_at_a_high_learning_rate_say_nothing_of_early_stopping():
    def make(spec):
        made, table = as_in_the_paper(spec)
        return made, table.assign(learning_rate=[0.1, *[0.095] * (len(table) - 1)])

    claim = claim_of("no gain by early stopping, at best", make)
    assert claim.verdict == "inconclusive"
    assert "ended at 95% of its largest value" in claim.why


@pytest.mark.parametrize(
    ("losses", "result", "short"),
    [
        ([2, 2, 1.5, 1.5, 1.2, 1.2, 1.0, 1.0], {}, True),
        ([2, 2, 1.5, 1.5, 1.2, 1.2, 1.19, 1.19], {}, False),
        ([2, 2, 1.5, 1.5, 1.2, 1.2, 1.0, 1.0], {"epochs_to_fit": 8}, False),
        ([2, 2, 1.5, 1.5, 1.2, 1.2, 1.0, 1.0], {"train_accuracy": 0.99}, False),
        ([2, 2, 1.5, 1.5, 1.2, 1.2, 1.0, 1.0], {"diverged": True}, False),
        ([2, 1, 0.5], {}, False),
    ],
    ids=["falling", "flat", "fitted", "nearly fitted", "diverged", "too few epochs to tell"],
)
def test_a_run_is_cut_short_if_its_loss_still_falls_at_the_end(losses, result, short):
    runs = Made(lambda _: (result, history([0.5] * len(losses), losses)))
    found = cut_short(runs.outcome(TINY.cifar.specs("alexnet")).runs)
    assert found == ("the training of alexnet ended while its loss still fell" if short else None)


def test_seeds_are_counted_by_configuration():
    outcome = Made(as_in_the_paper).outcome
    runs = outcome(TINY.cifar.specs("mlp-1x512")).runs
    assert few_seeds(runs) is None
    again = [replace(runs[0], spec=replace(runs[0].spec, params={**runs[0].spec.params, "momentum": 0.9})), *runs[1:]]
    again[0].__dict__["history"] = runs[0].history
    assert few_seeds(again) is None, "a parameter that is written out, and at its default, is no other configuration"
    assert (
        few_seeds(outcome([*TINY.cifar.specs("mlp-1x512"), *TINY.cifar.specs("alexnet")]).runs)
        == "1 seed for some of the numbers, fewer than 3"
    )
    assert few_seeds(outcome(TINY.cifar.specs("mlp-1x512")[:2]).runs) == "2 seeds for some of the numbers, fewer than 3"
    assert not_annealed(outcome(TINY.cifar.specs("mlp-1x512")).runs) is None
    begun = Made(lambda spec: None if spec.seed else as_in_the_paper(spec)).outcome(TINY.cifar.specs("mlp-1x512")).runs
    assert len(begun) == 3
    assert few_seeds(begun) == "1 seed for some of the numbers, fewer than 3", "of three seeds one is done"
    assert few_seeds([run for run in begun if run.spec.seed]) is None, "what is not begun is missing"


def test_seeds_that_are_not_done_do_not_count():
    def make(spec):
        return None if spec.seed else as_in_the_paper(spec)

    found = claims(make, THREE)
    compared = ("regularizers help", "batch normalization is worth a few points", "no gain by early stopping, at best")
    assert {found[name].why for name in (*compared, "no gain by early stopping, rigorously")} == {
        "1 seed for some of the numbers, fewer than 3"
    }


def test_a_run_that_diverged_is_no_accuracy_and_no_seed():
    def make(spec):
        made, table = as_in_the_paper(spec)
        if spec.model_name == "inception-no-bn" and spec.seed == 2:
            return {"train_accuracy": 0.1, "test_accuracy": 0.1, "diverged": True}, table.iloc[:2]
        return made, table

    result = table1.result(THREE, Made(make, THREE))
    rows = [row for row in result.tables[0].rows if row["model"] == "Inception w/o BatchNorm"]
    assert {row["seeds"] for row in rows} == {"2 of 3, 1 diverged"}
    assert [row["test"] for row in rows if row["labels"] == "original"] == pytest.approx([0.835, 0.825])
    found = {claim.name: claim for claim in result.claims}
    assert found["regularizers are not needed"].holds
    assert found["regularizers help"].why == "2 seeds for some of the numbers, fewer than 3"
    assert cut_short([run for run in result.runs if run.result.get("diverged")]) is None
    spare = replace(TINY, cifar=replace(TINY.cifar, compared_seeds=3, spare_seeds={"inception-no-bn": 1}))
    compared = [s.seed for row in reference.TABLE_1 if row.network == "inception-no-bn" for s in table1.row_specs(spare, row)]
    assert compared == [0, 1, 2, 3, 0, 1, 2, 3, 0], "a further seed in the place of one that diverged, but not on random labels"


def test_a_run_that_never_left_guessing_on_original_labels_is_no_accuracy_and_no_seed():
    guessing = math.log(10)

    def make(spec):
        made, table = as_in_the_paper(spec)
        if spec.model_name == "inception-no-bn" and spec.seed == 2:
            return made | {"train_accuracy": 0.1, "test_accuracy": 0.1}, history([0.1] * 4, [guessing + 0.1] * 3 + [0.99 * guessing])
        return made, table

    spare = replace(THREE, cifar=replace(THREE.cifar, compared_seeds=3, spare_seeds={"inception-no-bn": 1}))
    result = figure2b.result(spare, Made(make, spare))
    assert [row["seeds"] for row in result.tables[0].rows] == ["3", "3 of 4, 1 stuck at guessing"] * 2
    assert all(claim.verdict == "holds" for claim in result.claims)
    short = Run(TINY.cifar.specs("alexnet")[0], Path("run"), "done", {"n_classes": 10, "online_train_accuracy": 0.1})
    for losses, stuck in (([9.0] * 2, False), ([9.0] * 4, True), ([9.0] * 3 + [2.0], False), ([2.0] * 2 + [9.0] * 2, True)):
        short.__dict__["history"] = history([0.1] * len(losses), losses)
        assert is_stuck(short) is stuck
    (few,) = (c.why for c in figure2b.result(THREE, Made(make, THREE)).claims if "worth" in c.name)
    assert few == "2 seeds for some of the numbers, fewer than 3"

    def of_random_labels(spec):
        made, table = as_in_the_paper(spec)
        stuck = spec.randomization.labels and spec.model_name == "alexnet"
        return (made | {"train_accuracy": 0.1}, history([0.1] * 8, [guessing] * 8)) if stuck else (made, table)

    rows = table1.result(THREE, Made(of_random_labels, THREE)).tables[0].rows
    found = next(row for row in rows if row["model"] == "AlexNet" and row["labels"] == "random")
    assert (found["train"], found["seeds"]) == (pytest.approx(0.1), "3"), "on random labels it is a finding"


def test_the_relative_time_to_overfit_is_of_the_same_seeds():
    """A seed whose run on corrupted labels is not there says nothing of how much longer others take."""

    def make(spec):
        if spec.model_name != "alexnet":
            return as_in_the_paper(spec)
        corrupted = spec.randomization.labels > 0
        diverged = spec.seed == 2 and corrupted
        fitted = {0: 2, 1: 4, 2: 40}[spec.seed] * (3 if corrupted else 1)
        return {"train_accuracy": 1.0, "test_accuracy": 0.1, "diverged": diverged}, history([0.1] * (fitted - 1) + [1.0])

    three = replace(TINY, cifar=replace(TINY.cifar, timed_seeds=3))
    rows = [row for row in figure1b.result(three, Made(make, three)).tables[0].rows if row["model"] == "AlexNet"]
    assert [row["ratio"] for row in rows if row["labels"]] == [3.0] * 4
    assert next(row["steps"] for row in rows if not row["labels"]) == pytest.approx(10 * (2 + 4 + 40) / 3)


def test_at_full_scale_compared_accuracies_have_three_seeds_and_no_run_is_another():
    full = SCALES["full"]
    without = replace(full, cifar=replace(full.cifar, compared_seeds=1))
    for name in ("table1", "figure2b"):
        ids = {spec.run_id for spec in find_experiment(name).specs(full)}
        assert {spec.run_id for spec in find_experiment(name).specs(without)} < ids
    compared = [*(row for row in reference.TABLE_1 if not row.random_labels)]
    assert {len(table1.row_specs(full, row)) for row in compared} == {3}
    assert few_seeds(Made(as_in_the_paper, full).outcome(figure2b.specs(full)).runs) is None
    for name in ("figure1a", "figure1b", "figure1c", "table4"):
        assert find_experiment(name).specs(full) == find_experiment(name).specs(without)


def test_compared_times_to_overfit_have_three_seeds_where_a_scale_says_so():
    small = SCALES["small"]
    for p in CORRUPTIONS:
        runs = [spec for spec in figure1b.specs(small) if spec.randomization.labels == p]
        assert {spec.seed for spec in runs if spec.model_name == "inception"} == {0, 1, 2}
    once = replace(small, cifar=replace(small.cifar, timed_seeds=1))
    assert {spec.seed for spec in figure1b.specs(once) if spec.model_name == "inception"} == {0}
    assert few_seeds(Made(as_in_the_paper, SCALES["full"]).outcome(figure1b.specs(SCALES["full"])).runs) is None


def test_claims_on_missing_runs_are_not_judged():
    assert {c.holds for c in claims(lambda _: None).values()} == {None}
    gone = is_("inception", 1.0)
    found = claims(lambda spec: None if gone(spec) else as_in_the_paper(spec))
    assert found["everything fits random labels"].holds is None
    assert "Inception: missing" in found["everything fits random labels"].evidence
    assert found["regularizers help"].holds is True


def test_a_network_that_never_overfits_has_no_time_and_the_claim_is_not_judged():
    never = lambda spec: (as_in_the_paper(spec)[0], history([0.1] * 5)) if is_("alexnet", 1.0)(spec) else as_in_the_paper(spec)  # noqa: E731
    result = figure1b.result(TINY, Made(never))
    row = next(r for r in result.tables[0].rows if r["model"] == "AlexNet" and r["labels"] == 1)
    assert (row["steps"], row["ratio"]) == (None, None)
    claim = figure1b.result(THREE, Made(never, THREE)).claims[0]
    assert (claim.verdict, claim.why) == ("inconclusive", "a run of AlexNet never reached 95% online accuracy")
    assert "AlexNet: none" in claim.evidence
    gone = figure1b.result(THREE, Made(lambda spec: never(spec) if spec.model_name == "alexnet" else None, THREE)).claims[0]
    assert gone.verdict == "missing", "of other networks there is no run"


def test_a_run_that_never_converges_is_not_missing():
    gaussian = is_("inception", 0.0, "gaussian")
    found = claims(lambda spec: ({}, history([0.1] * 9, [2.3] * 9)) if gaussian(spec) else as_in_the_paper(spec), experiments=["figure1a"])
    claim = found["noise pixels converge before random labels"]
    assert (claim.verdict, claim.why) == ("inconclusive", "the loss on Gaussian pixels never fell below half of that of guessing")
    random = is_("inception", 1.0)
    found = claims(lambda spec: ({}, history([0.1] * 9, [2.3] * 9)) if random(spec) else as_in_the_paper(spec), experiments=["figure1a"])
    claim = found["once fitting starts, it converges quickly"]
    assert (claim.verdict, claim.why) == ("inconclusive", "the loss on random labels never fell below half of that of guessing")


def test_figure_1b_is_relative_to_no_corruption():
    result = figure1b.result(TINY, Made(as_in_the_paper))
    (chart, caption) = result.charts["figure1b"]
    data = [row for rows in to_spec(chart)["datasets"].values() for row in rows]
    assert {(r["model"], r["labels"]): r["ratio"] for r in data} == {(r["model"], r["labels"]): r["ratio"] for r in result.tables[0].rows}
    assert {r["ratio"] for r in data if r["labels"] == 0} == {1}
    assert {r["ratio"] for r in data if r["labels"] == 1} == {3}
    assert "95%" in caption


def test_verdicts_of_rows_say_their_rules():
    rows = table1.result(TINY, Made(as_in_the_paper)).tables[0].rows
    assert rows[3]["verdict"] == "train ≥ 99%: yes; test within 3 points: yes"
    assert rows[-2]["verdict"] == "train ≥ 99%: yes; test within 3 points: no", "60 % against the paper's 50.51"
    assert rows[-1]["verdict"] == "train ≥ 99%: yes; test within 3 points: yes", "chance"
    assert (rows[-1]["paper_train"], rows[-1]["paper_test"]) == (99.34, 10.61)
    rows = table4.result(TINY, Made(as_in_the_paper)).tables[0].rows
    assert [r["verdict"] for r in rows if r["model"] == "AlexNet"] == ["train ≥ 99%: no (paper: no)"]
    assert table1.result(TINY, Made(lambda _: None)).tables[0].rows[0]["verdict"] == "missing"


def test_table_4_reports_online_accuracy_where_the_paper_does():
    made = spoil(lambda spec: "augment" in spec.params, online_train_accuracy=0.5)
    rows = table4.result(TINY, Made(made)).tables[0].rows
    assert [r["train"] for r in rows if r["regularizer"] in ("random cropping", "augmentation")] == [0.5, 0.5]
    assert [r["clean"] for r in rows if r["regularizer"] in ("random cropping", "augmentation")] == [1.0, 1.0]


def test_paper_numbers_in_figure_1c_are_those_of_table_1():
    assert figure1c._theirs("inception", 0.0) == 14.25
    assert figure1c._theirs("mlp-1x512", 1.0) == 89.39
    rows = figure1c.result(TINY, Made(as_in_the_paper)).tables[0].rows
    assert [row["paper"] is None for row in rows if row["model"] == "AlexNet"] == [False, True, True, True, False]


def test_cells():
    assert [show(0.12345, "percent"), show(0.5, "share"), show(9.1, "paper"), show(1234.0, "number"), show(None, "percent")] == [
        *("12.35", "50%", "9.10", "1,234", "–")
    ]
    assert show("failed to converge", "paper") == "failed to converge"
    assert Column("a", "A").kind == "text"
    assert answers(("x", True), ("y", False)) == "x: yes; y: no"
    assert judge("n", "s", "r", {}, all).verdict == "missing"
    assert Outcome([]).test_interval() is None


@pytest.mark.parametrize("scale", SCALES.values(), ids=lambda s: s.name)
def test_plans(scale):
    specs = experiment_specs(find_experiments("all-cifar"), scale)
    assert len({s.run_id for s in specs}) == len(specs)
    seeds = [s.seed for s in specs]
    assert seeds == sorted(seeds), "a second seed of anything only after the first of everything"
    first = [settles(s) for s in specs if s.seed == 0]
    assert first == sorted(first), "what settles most comes first"
    assert set(first) == set(range(8))
    assert {s.model_name for s in specs[:5]} == set(NETWORKS), "all networks on random labels"
    for name in find_experiments("all-cifar"):
        assert {s.run_id for s in find_experiment(name).specs(scale)} <= {s.run_id for s in specs}
    augmented = [s for s in specs if s.params.get("decay") == 0.999]
    assert {s.params["epochs"] for s in augmented} == {scale.cifar.long_epochs}
    assert {s.randomization.labels for s in augmented} == {1.0}
    assert [name for group in GROUPS for name in find_experiments(group)] == EXPERIMENTS
    assert find_experiments("table1") == ["table1"]


def test_figure_2b_has_a_size_of_its_own_and_separate_runs_only_where_the_held_out_images_are_taken_away(tmp_path):
    own = replace(TINY.cifar, n_train=50, compared_seeds=2, decay_steps=None)
    specs = experiment_specs(["figure2b"], replace(TINY, early_stopping=own))
    assert [(s.model_name, s.n_train, s.n_validation, s.seed) for s in specs] == [
        (name, 50, 10, seed) for seed in (0, 1) for name in ("inception", "inception-no-bn")
    ]
    assert {s.params["decay_steps"] for s in specs} == {None}
    assert "decay_steps" not in TINY.cifar.specs("alexnet")[0].params
    made = figure2b.result(replace(TINY, early_stopping=own), Runs(Store(tmp_path), TINY))
    assert made.size == "n = 50 of digits"
    assert [run.run_id for run in made.runs] == [s.run_id for s in figure2b.specs(replace(TINY, early_stopping=own))[:4]], "each run once"
    everything = replace(TINY, early_stopping=replace(own, n_train=None))
    assert sorted(s.n_validation or 0 for s in experiment_specs(["figure2b"], everything)) == [0] * 4 + [10] * 4
    spare = replace(TINY, early_stopping=replace(own, spare_seeds={"inception-no-bn": 1}))
    seeds = [(s.model_name, s.seed) for s in experiment_specs(["figure2b"], spare)]
    assert sorted(seeds) == [*(("inception", n) for n in (0, 1)), *(("inception-no-bn", n) for n in (0, 1, 2))]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_a_file(name):
    experiment = find_experiment(name)
    assert experiment.TITLE
    assert experiment.specs(SCALES["demo"]) or name == "survey", "the runs of the survey are a population of its own"


def test_an_unknown_experiment():
    with pytest.raises(InputError, match="unknown experiment 'table9'"):
        find_experiments("table9")
    with pytest.raises(InputError, match="unknown experiment 'all-cifar'"):
        find_experiment("all-cifar")


def test_full_scale_rows_of_the_mlps_are_the_models_defaults():
    (spec,) = {s.run_id: s for s in CifarScale().specs("mlp-1x512")}.values()
    assert spec.run_id == "27c73d96c502", "as stored in results/"
    assert spec.identity() == {"dataset": "cifar10", MODEL_KEY: "network", "seed": 0}


def test_regularizers_are_compared_within_a_seed_and_by_an_interval():
    def make(gains):
        """Regularizers that gain this for each seed; seeds differ by more than that."""

        def result(spec):
            made, table = as_in_the_paper(spec)
            is_regularized = "augment" in spec.params or "weight_decay" in spec.params
            return made | {"test_accuracy": 0.2 * (1 + spec.seed) + gains[spec.seed] * is_regularized}, table

        return result

    def judged(*gains):
        return claim_of("regularizers help", make(gains))

    assert judged(0.01, 0.012, 0.011).verdict == "holds"
    assert judged(-0.01, -0.012, -0.011).verdict == "does not hold"
    assert judged(0.01, -0.012, 0.011).why.endswith("contains 0")


def only_alexnet(spec):
    return spoil(is_("alexnet", 1.0), train_accuracy=1.0)(spec) if spec.model_name == "alexnet" else None


def test_the_papers_weight_decay_is_not_judged_on_fewer_images():
    fewer = replace(THREE, cifar=replace(THREE.cifar, n_train=30))
    claim = claims(as_in_the_paper, fewer, ["table4"])["AlexNet alone fails with weight decay"]
    assert (claim.verdict, claim.why) == ("not comparable", "n is 30, and the paper's coefficient is for n = 50,000")
    fits = claim_of("AlexNet alone fails with weight decay", spoil(is_("alexnet", 1.0), train_accuracy=1.0))
    assert (fits.verdict, fits.why) == ("inconclusive", "AlexNet fits with 0.0005, and the paper, where it does not, gives no coefficient")
    others = claim_of("AlexNet alone fails with weight decay", only_alexnet)
    assert others.verdict == "inconclusive", "whatever runs of other networks are missing"
    cut = claim_of("AlexNet alone fails with weight decay", unfinished(is_("alexnet", 1.0, weight_decay=True)))
    assert (cut.verdict, cut.why) == ("inconclusive", "the training of alexnet ended while its loss still fell")


@pytest.mark.parametrize(("last", "short"), [(0.1, True), (0.02, True), (0.01, False), (0.001, False)])
def test_a_run_whose_learning_rate_has_come_to_nothing_is_not_cut_short(last, short):
    """More epochs would change nothing: that it does not fit is a result."""
    table = history([0.5] * 8, [2, 2, 1.5, 1.5, 1.2, 1.2, 1.0, 1.0])
    spent = table.assign(learning_rate=[0.1 * last ** (i / 7) for i in range(8)])
    runs = Made(lambda _: ({"train_accuracy": 0.98}, spent)).outcome(TINY.cifar.specs("alexnet")).runs
    assert (cut_short(runs) is not None) == short
    assert cut_short([replace_history(runs[0], table.drop(columns="learning_rate"))]) is not None, "of models without a learning rate"


def replace_history(run, table):
    run.__dict__["history"] = table
    return run


def test_each_technique_has_to_help_and_a_spare_seed_counts_with_the_others():
    def make(spec):
        """Cropping adds 5 points, and weight decay this much; the network without batch normalization diverges on a seed."""
        made, table = as_in_the_paper(spec)
        gain = 0.05 * ("augment" in spec.params) + decay[spec.seed] * ("weight_decay" in spec.params)
        diverged = spec.model_name == "inception-no-bn" and spec.seed == 2
        return made | {"test_accuracy": 0.5 + gain, "diverged": diverged}, table

    spare = replace(TINY, cifar=replace(TINY.cifar, n_train=None, compared_seeds=3, spare_seeds={"inception-no-bn": 1}))

    def judged():
        return {c.name: c for c in table1.result(spare, Made(make, spare)).claims}["regularizers help"]

    decay = [0.01, 0.011, 0.012, 0.011]
    assert judged().verdict == "holds"
    decay = [0.01, -0.012, 0.011, 0.0]
    assert (judged().verdict, judged().why[:35]) == ("inconclusive", "weight decay: the 95 % interval of ")
    decay = [-0.01, -0.011, -0.012, -0.011]
    assert judged().verdict == "does not hold", "however much cropping adds"


def test_noise_is_faster_by_an_interval_over_seeds():
    name = "noise pixels converge before random labels"
    assert claims(as_in_the_paper, ONE, ["figure1a"])[name].why == "1 seed for some of the numbers, fewer than 2"
    quick = claims(as_in_the_paper, ONE, ["figure1a"])["once fitting starts, it converges quickly"]
    assert quick.why == "1 seed for some of the numbers, fewer than 2"

    def make(spec):
        made, table = as_in_the_paper(spec)
        epochs = {"random": (14, 12, 22)[spec.seed]}.get(spec.randomization.pixels)
        return (made, history([0.1] * (epochs - 1) + [1.0], [2.3] * (epochs - 1) + [0.01])) if epochs else (made, table)

    claim = claims(make, THREE, ["figure1a"])[name]
    assert (claim.verdict, claim.why[-10:]) == ("inconclusive", "contains 0")
    assert claim_of("once fitting starts, it converges quickly", unsteady).verdict == "inconclusive"


def unsteady(spec):
    """Runs that need as long before they converge as after, by the seed."""
    made, _ = as_in_the_paper(spec)
    before = (2, 5, 8)[spec.seed]
    return made, history([0.1] * 9 + [1.0], [2.3] * (before - 1) + [1.0] * (10 - before) + [0.01])


def test_a_rise_within_the_noise_of_the_test_images_is_not_steady():
    claim = claim_of("test error rises steadily to chance", spoil(is_("mlp-1x512", 0.25), test_accuracy=0.59))
    assert claim.verdict == "inconclusive"
    assert claim.why == "MLP 1x512, 0% to 25%: a rise of 1.0 points is within two standard errors"
    cut = claim_of("every share of corrupted labels is fitted", unfinished(is_("alexnet", 0.75)))
    assert (cut.verdict, cut.why) == ("inconclusive", "the training of alexnet ended while its loss still fell")


def test_what_batch_normalization_is_worth_is_for_the_papers_n_and_by_an_interval():
    name = "batch normalization is worth a few points"
    claim = claims(as_in_the_paper, replace(THREE, cifar=replace(THREE.cifar, n_train=30)), ["figure2b"])[name]
    assert (claim.verdict, claim.why) == ("not comparable", "n is 30, below 10,000, and the paper's 3 to 4 points are for n = 50,000")

    def make(spec):
        made, table = as_in_the_paper(spec)
        return (made | {"test_accuracy": 0.82 + 0.02 * spec.seed} if spec.model_name == "inception" else made), table

    assert claim_of(name, make).why == "the gain, -3.5 to 6.5 points, may be 2 to 5 points or not"

    def larger(spec):
        made, table = as_in_the_paper(spec)
        return (made | {"test_accuracy": 0.99} if spec.model_name == "inception" else made), table

    assert claim_of(name, larger).verdict == "does not hold"
    fewer = replace(THREE, cifar=replace(THREE.cifar, n_train=10_000))
    claim = claims(larger, fewer, ["figure2b"])[name]
    assert (claim.verdict, claim.why) == ("inconclusive", "the gain is 16.5 points at n = 10,000, and the paper's n is 50,000")
    assert claims(as_in_the_paper, fewer, ["figure2b"])[name].verdict == "holds"


def test_training_without_batch_normalization_that_is_as_smooth_decides_nothing():
    def make(spec):
        made, _ = as_in_the_paper(spec)
        rise = {"inception": 0.1, "inception-no-bn": (0.05, 0.1, 0.2)[spec.seed]}.get(spec.model_name, 0)
        return made, history([0.1] * 3 + [1.0], [1.0, 1.0 + rise, 0.5, 0.01])

    name = "batch normalization stabilizes training"
    assert claim_of(name, make).verdict == "inconclusive"
    assert claims(as_in_the_paper, ONE, ["table1"])[name].why.startswith("1 seed for some of the numbers, fewer than 3")


@pytest.mark.parametrize(
    ("name", "network", "value"),
    [
        ("no gain by early stopping, MLPs", "mlp-1x512", "best_test_accuracy"),
        ("no gain by early stopping, at best", "inception", "best_test_accuracy"),
        ("no gain by early stopping, rigorously", "inception", "test_accuracy_at_best_validation"),
    ],
)
@pytest.mark.parametrize(
    ("gains", "verdict"),
    [((0.002, 0.003, 0.004), "holds"), ((0.001, 0.008, 0.012), "inconclusive"), ((0.02, 0.021, 0.022), "does not hold")],
)
def test_a_gain_by_early_stopping_is_judged_by_its_interval(name, network, value, gains, verdict):
    def make(spec):
        made, table = as_in_the_paper(spec)
        is_it = spec.model_name == network and not spec.randomization.labels
        return (made | {value: made["test_accuracy"] + gains[spec.seed]} if is_it else made), table

    claim = claim_of(name, make)
    assert claim.verdict == verdict
    assert claim.why.endswith("points") == (verdict == "inconclusive")


def test_a_training_that_was_ended_once_it_fitted_does_not_show_the_loss_to_which_it_converges():
    def make(spec):
        made, _ = as_in_the_paper(spec)
        table = history([0.1, 0.5, 0.9, 1.0], [2.3, 1.5, 0.5, 0.2])
        return (made | {"epochs_to_fit": 4}, table) if spec.model_name == "mlp-1x512" else as_in_the_paper(spec)

    claim = claim_of("AlexNet and MLPs converge to zero loss", make)
    assert (claim.verdict, claim.why) == ("inconclusive", "the training of mlp-1x512 was ended once it fitted")
    at_the_papers_decay = stuck(lambda spec: spec.model_name == "mlp-1x512" and "decay" not in spec.params)
    assert claim_of("AlexNet and MLPs converge to zero loss", at_the_papers_decay).holds
    cut = claim_of("AlexNet and MLPs converge to zero loss", unfinished(is_("mlp-1x512", 1.0)))
    assert (cut.verdict, cut.why) == ("inconclusive", "the training of mlp-1x512 ended while its loss still fell")
