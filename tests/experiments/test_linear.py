"""Section 5's experiments, run whole at a tiny scale."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shattering import Store, sweep
from shattering.cli import main
from shattering.experiments import norm, reproduce, table3, table3_conv
from shattering.experiments.catalogue import find_experiments
from shattering.experiments.experiment import Outcome, Runs
from shattering.experiments.reference import N_TRAIN, TABLE_3
from shattering.experiments.scales import SCALES
from shattering.runs.stored import Run
from tests.experiments.conftest import TINY, written

LINEAR = find_experiments("all-linear")


@pytest.fixture(scope="module")
def linear_store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table3_conv, "BANDWIDTHS", (0.3,))  # four choices in place of sixteen
        store = Store(tmp_path_factory.mktemp("linear"))
        runs = sweep(reproduce.experiment_specs(LINEAR, TINY), store, jobs=2)
        assert [run.error for run in runs if run.status != "done"] == []
        yield store


@pytest.mark.parametrize("name", LINEAR)
def test_every_experiment_has_a_page_a_picture_and_judged_claims(linear_store, tmp_path, name):
    _, files = written(name, linear_store, tmp_path)
    assert [f.suffix for f in files] == [".html", ".pdf", ".svg", ".png"]


@pytest.mark.parametrize("name", ["gradient-descent", "hessian", "polynomial", "perceptron"])
def test_claims_that_need_no_scale_hold(linear_store, name):
    for claim in reproduce.make_result(name, TINY, linear_store).claims:
        assert claim.holds is True, f"{claim.name}: {claim.evidence}"


def test_table_3_is_the_stored_results(linear_store):
    rows = reproduce.make_result("table3", TINY, linear_store).tables[0].rows
    k = TINY.kernels
    assert [row["paper"] for row in rows] == [1.2, 0.6, 46, 17, 17, 15, 15]
    kernels, linear = [rows[3], rows[5]], [*rows[:3], rows[4], rows[6]]
    for with_ridge, row in zip((False, True), kernels, strict=True):
        run = linear_store.get(table3_conv.spec_of(k, k.conv_sizes[-1], with_ridge))
        assert (row["error"], row["norm"]) == (1 - run.result["test_accuracy"], run.result["norm"])
    for reference, row in zip(TABLE_3, linear, strict=True):
        key = table3.kernel_of(reference)
        run = linear_store.get(table3.path_specs(k, key)[k.ridges[key] if reference.regularized else 0.0])
        assert row["error"] == 1 - run.result["test_accuracy"]
        assert row["norm"] == run.result["norm"]
        assert run.spec.model == ("random-conv" if key == "conv" else "kernel")


class Made(Runs):
    """Runs of table 3 with made-up results."""

    def __init__(self, make):
        super().__init__(Store("nowhere"), TINY)
        self.make = make

    def _find(self, spec):
        found, made = super()._find(spec), self.make(spec)
        return replace(found, status="done", result=made, provenance={"seconds": 1.0}) if made else found


def as_in_the_paper(spec):
    ridge = spec.params.get("ridge", 0.0)
    if spec.model == "random-conv-kernel":
        error, size = 0.15 if ridge else 0.17, 100.0
    elif spec.model == "random-conv":
        error, size = 0.21 if ridge else 0.33, 100.0
    else:
        error, size = (0.006, 390.0) if "features" in spec.params else (0.012, 220.0)
        if "features" in spec.params and spec.n_validation:
            size *= TINY.kernels.gammas["gabor"] / spec.params["gamma"]
    n = norm.N_TRAIN if spec.model == "kernel" else N_TRAIN
    made = {"train_accuracy": 1.0, "test_accuracy": 1 - error, "validation_accuracy": 1 - error, "norm": size}
    return made | {"residual": 1e-7, "solver_memory": 1e9, "dataset": "digits", "n_test": 10_000, "n_train": n}


def spoiled(change):
    return lambda spec: as_in_the_paper(spec) | change(spec)


def claims(make, modules=("table3", "table3-conv", "norm")):
    return {c.name: c.holds for module in modules for c in reproduce.find_experiment(module).result(TINY, Made(make)).claims}


def test_numbers_as_in_the_paper_satisfy_the_claims_and_spoiled_ones_do_not():
    where = {name: module for module in ("table3", "table3-conv", "norm") for name in claims(as_in_the_paper, [module])}
    assert set(claims(as_in_the_paper).values()) == {True}
    spoil = {
        "interpolation generalizes without regularization": lambda s: {"train_accuracy": 0.9},
        "ridge improves neither MNIST model": lambda s: {"test_accuracy": 0.9999} if s.params.get("ridge") == 1e-2 else {},
        "a kernel on random features interpolates and generalizes": lambda s: {"test_accuracy": 0.2},
        "ridge helps the random conv-net a little": lambda s: {"test_accuracy": 0.9} if s.params.get("ridge") else {},
        "the linear model is another": lambda s: {"test_accuracy": 0.8} if s.model == "random-conv" else {},
        "norms of about 220 and 390": lambda s: {"norm": 240.0} if "features" not in s.params else {},
        "a smaller norm with a smaller error, too": lambda s: {"validation_accuracy": 0.98} if "features" in s.params else {},
        "a larger norm with a smaller error": lambda s: {"norm": 200.0} if "features" in s.params else {},
    }
    assert set(spoil) == set(where) - {"random conv-net: 17 %, with ridge 15 %"}, "which has a test of its own"
    for name, change in spoil.items():
        assert claims(spoiled(change), [where[name]])[name] is False


def test_a_gain_that_other_test_images_might_not_show_decides_nothing():
    def judged(accuracy):
        """The claim where one ridge on pixels reaches this, and no ridge 98.8 %."""
        make = spoiled(lambda s: {"test_accuracy": accuracy if s.params.get("ridge") == 1e-2 and "features" not in s.params else 0.988})
        made = reproduce.find_experiment("table3").result(TINY, Made(make)).claims
        return {claim.name: claim for claim in made}["ridge improves neither MNIST model"]

    assert judged(0.9887).verdict == "holds", "0.07 of 1.2 points"
    assert judged(0.99).why == "Gaussian on pixels: a gain of 0.20 points is within two standard errors"


@pytest.mark.parametrize(
    ("pixels", "gabor", "verdict"),
    [
        ([(45, 0.025), (60, 0.03)], [(30, 0.05), (40, 0.01)], "holds"),
        ([(45, 0.025), (60, 0.03)], [(30, 0.05), (50, 0.01)], "does not hold"),
        ([(45, 0.025), (60, 0.03)], [(None, None), (40, 0.01)], "holds"),
        ([(45, 0.025), (60, 0.03)], [(None, None), (50, 0.01)], "missing"),
        ([(45, 0.025), (None, None)], [(30, 0.05), (40, 0.01)], "missing"),
    ],
    ids=["not at the least norm", "at none", "at one of those done", "perhaps at another", "than pixels at any"],
)
def test_any_bandwidth_of_wavelets_may_show_it(pixels, gabor, verdict):
    titles = [table3.KERNELS[key].title for key in norm.KEYS]
    pairs = zip(titles, (pixels, gabor), strict=True)
    grid = [{"model": title, "norm": size, "error": error} for title, found in pairs for size, error in found]
    assert norm._claim_of_reversal(grid).verdict == verdict


@pytest.mark.parametrize(
    ("without", "ridged", "verdict"),
    [
        (0.17, 0.15, "holds"),
        (0.17, 0.18, "does not hold"),
        (0.33, 0.21, "does not hold"),
        (0.17, 0.165, "inconclusive"),
        (0.20, 0.165, "inconclusive"),
        (0.17, None, "missing"),
    ],
    ids=["as the paper", "no help", "too much help", "near none", "near too much", "not run"],
)
def test_ridge_helps_the_conv_net_a_little_and_not_much(without, ridged, verdict):
    claim = table3_conv.ridge_claim({"without ridge": without, "with ridge": ridged}, n_test=10_000)
    assert claim.verdict == verdict
    assert (claim.why != "") == (verdict == "inconclusive")


def test_errors_at_another_n_are_not_compared_with_the_papers():
    claim = conv_claim(TINY, {"n_train": 120})
    assert (claim.verdict, claim.why) == ("not comparable", "n is 120, and the paper's errors are for n = 50,000")


def conv_claim(scale, change):
    made = table3_conv.result(scale, Made(spoiled(lambda _: change))).claims
    return next(claim for claim in made if claim.name.startswith("random conv-net"))


def test_the_errors_of_the_random_conv_net_have_one_rule_and_fewer_filters_than_the_papers_do_not_spoil_it():
    """Stored are 21.3 and 19.0 % with 8,192 filters, which are not the paper's 17 and 15 %, and do not show that those are wrong."""
    whole = replace(TINY, kernels=replace(TINY.kernels, conv_sizes=((120, table3_conv.N_FILTERS),)))
    assert conv_claim(TINY, {}).verdict == conv_claim(whole, {}).verdict == "holds"
    few = conv_claim(TINY, {"test_accuracy": 0.81})
    assert (few.verdict, few.why) == ("inconclusive", "200 filters are fewer than the paper's, and the error with ridge is larger"), (
        "0.19 is more than 1.25 * 0.15"
    )
    assert conv_claim(whole, {"test_accuracy": 0.81}).verdict == "does not hold"
    row = table3.result(TINY, Made(spoiled(lambda _: {"test_accuracy": 0.81}))).tables[0].rows[5]
    assert row["verdict"] == "error ≤ 1.25 times theirs: no"


def test_the_random_conv_net_is_shown_with_the_most_filters_that_are_done():
    few, most = TINY.kernels.filters[0], TINY.kernels.filters[-1]

    def rows(is_done):
        tables = table3.result(TINY, Made(lambda spec: as_in_the_paper(spec) if is_done(spec.params) else None)).tables
        return [(row["model"], row["error"]) for row in tables[0].rows[4::2]], [(row["filters"], row["ridge"]) for row in tables[2].rows]

    conv, by_filters = rows(lambda params: params.get("n_filters") != most)
    assert [(model, round(error, 2)) for model, error in conv] == [
        (f"linear on the random conv-net, {few} filters", e) for e in (0.33, 0.21)
    ]
    assert by_filters == [(str(few), "0"), (str(few), "0.01")]
    conv, by_filters = rows(lambda params: not (params.get("n_filters") == most and params.get("ridge")))
    assert [model for model, _ in conv] == [f"linear on the random conv-net, {n} filters" for n in (most, few)]
    assert by_filters[-1] == (str(most), "0")
    conv, by_filters = rows(lambda params: "n_filters" not in params)
    assert conv == [(f"linear on the random conv-net, {most} filters", None)] * 2
    assert not by_filters


@pytest.mark.parametrize("scale", ["demo", "small", "full"])
def test_choices_are_among_those_tried_and_rows_come_first(scale):
    k = SCALES[scale].kernels
    assert set(k.ridges.values()) <= set(table3.RIDGES)
    specs = table3.specs(SCALES[scale])
    assert [s.n_validation for s in specs[:6]] == [None] * 6
    assert len({spec.run_id for spec in specs}) == len({*(s.run_id for s in specs)})


def test_commands(tmp_path, capsys, monkeypatch, linear_store):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SCALES, "demo", TINY)
    assert main(["paper", "all-linear", "--from", str(linear_store.root), "--out", "drawn", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [r["experiment"] for r in found["results"]] == LINEAR
    index = (tmp_path / "drawn" / "all-linear-tiny.html").read_text()
    assert "gradient-descent-tiny.html" in index
    assert main(["status", "--store", str(linear_store.root)]) == 0
    assert "hessian-s0-" in capsys.readouterr().out
    assert main(["show", "hessian", "--store", str(linear_store.root)]) == 0
    assert "eigenvalue" in capsys.readouterr().out
    assert main(["show", "hessian", "--store", str(linear_store.root), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["table"]) == 360
    assert main(["report", "--store", str(linear_store.root), "--out", "report.html"]) == 0


@pytest.mark.parametrize(
    ("norms", "verdict"),
    [((370.0, 389.0), "holds"), ((370.0, None), "missing"), ((389.0, None), "holds"), ((370.0, 420.0), "does not hold")],
    ids=["at one of two", "perhaps at another", "whatever the other shows", "at none"],
)
def test_the_norms_of_the_paper_are_sought_at_several_bandwidths(norms, verdict):
    sizes = {("raw", 0.1): 220.0, ("gabor", 2.3): norms[0], ("gabor", 2.2): norms[1]}
    rows = {table3.kernel_of(row): row for row in TABLE_3 if not row.regularized}
    result = {"n_train": norm.N_TRAIN, "test_accuracy": 0.995}
    spec = norm.norm_specs(SCALES["full"].kernels)["gabor", 2.3]
    tried = {
        key: Outcome([Run(spec, Path(), "missing") if size is None else Run(spec, Path(), "done", result | {"norm": size})])
        for key, size in sizes.items()
    }
    assert norm._claim_of_norms(tried, rows).verdict == verdict
