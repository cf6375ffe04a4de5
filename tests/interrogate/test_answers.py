"""Questions 1 and 2 on planted populations, whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from shattering.interrogate.answers import Effect, decide
from shattering.interrogate.equivalents import (
    ABOVE,
    BELOW,
    BENT,
    MISSING,
    STATUSES,
    equivalent_size,
    equivalent_sizes,
    median_shares,
    shares_by_cell,
    shares_of_shatter_point,
)
from shattering.interrogate.judging import judge_table
from shattering.interrogate.noise_answers import noise_answers
from shattering.interrogate.survivors import same_for_all_families, survivor_answers
from shattering.interrogate.verdicts import Thresholds
from tests.interrogate.simulated import AXES, simulate

LADDER = np.array([62, 125, 250, 500, 1000])


@pytest.mark.parametrize(
    ("rungs", "value", "found"),
    [
        (np.log(LADDER), np.log(100), (100, "found")),
        (-np.log(LADDER), -np.log(100), (100, "found")),  # falls with the number of labels
        ([1, 2, np.nan, 4, 5], 3, (250, "found")),
        ([1, 2, 3, 4, np.inf], 2, (125, "found")),
        (LADDER, 1001, (None, ABOVE)),
        (-LADDER, -1001, (None, ABOVE)),
        (-LADDER, -61, (None, BELOW)),
        (LADDER, 61, (None, BELOW)),
        (LADDER, -np.inf, (None, BELOW)),
        ([1, 2, 3, 3, 4], 2, (None, BENT)),
        ([1, 2, 3, 2, 4], 2, (None, BENT)),
        ([1, 1, 1, 1, 1], 1, (None, BENT)),
        ([1, 2, np.nan, np.nan, np.nan], 1, (None, MISSING)),
        (LADDER, np.nan, (None, MISSING)),
    ],
)
def test_a_size_is_found_only_on_a_ladder_that_rises_or_falls_throughout(rungs, value, found):
    size, status = equivalent_size(LADDER.astype(float), np.array(rungs, float), value)
    assert (None if np.isnan(size) else round(size), status) == found


@pytest.mark.parametrize(
    ("effect", "verdict"),
    [
        (Effect(0.3, 0.1, 0.5), "holds"),
        (Effect(-0.3, -0.5, 0.05), "does not hold"),
        (Effect(0.3, -0.1, 0.5), "inconclusive"),
        (Effect(0.3), "inconclusive"),
        (Effect(-0.3, high=0.05), "inconclusive"),
        (Effect(), "inconclusive"),
    ],
)
def test_an_effect_without_an_interval_decides_nothing(effect, verdict):
    found = decide("Q2", "Larger is worse.", effect, "")
    assert found.verdict == verdict
    assert (found.why != "") == (verdict == "inconclusive")


@pytest.fixture(scope="module")
def planted() -> pd.DataFrame:
    """A population with fully connected and convolutional cells, and measures that are known functions of random labels and gap.

    n labels of which a share p is random are worth n·p + (1 − p)·n·w random ones, w growing with the gap of the cell.
    """
    table = simulate()
    generator = np.random.default_rng(3)
    noise = lambda sd: generator.normal(0, sd, len(table))  # noqa: E731
    table["family"] = np.where(table["cell"].isin([f"cell{k:02d}" for k in range(8)]), "mlp", "small-cnn")
    table.loc[table["condition"].str.startswith("untrained"), "family"] = "mlp"
    natural = table.loc[table["condition"] == "natural"].groupby("cell")["gap"].mean()
    worth = table["cell"].map(0.15 + 2 * (natural - 0.4)).fillna(0.5) * np.where(table["family"] == "small-cnn", 0.6, 1.0)
    p = table["corruption"]
    labels = table["n"] * (p + (1 - p) * worth)
    scale = table["cell"].map(dict(zip(sorted(natural.index), generator.permutation(16) + 1.0, strict=True))).fillna(1.0)
    for k in range(4):  # the number of labels, seen on a scale of each cell's own that hides the gap
        table[f"labels_{k}"] = scale ** (k + 1) * 100 * np.log(labels) + noise(0.001)
    table["coin"] = noise(1.0)
    table["constant_measure"] = 1.0
    return table


def test_the_number_of_random_labels_is_recovered_and_a_coin_has_none(planted):
    sizes = equivalent_sizes(planted, ["labels_0", "coin", "constant_measure"])
    natural = sizes.loc[(sizes["corruption"] == 0) & (sizes["measure"] == "labels_0")]
    assert set(natural["status"]) == {"found"}
    gaps = planted.loc[planted["condition"] == "natural"].groupby("cell")["gap"].mean()
    factor = planted.groupby("cell")["family"].first().map({"mlp": 1.0, "small-cnn": 0.6})
    shares = shares_by_cell(sizes)["labels_0"]
    np.testing.assert_allclose(shares, ((0.15 + 2 * (gaps - 0.4)) * factor).loc[shares.index], rtol=0.02)
    coins = sizes.loc[sizes["measure"] == "coin", "status"].value_counts(normalize=True)
    assert coins[BENT] > 0.9
    assert set(sizes.loc[sizes["measure"] == "constant_measure", "status"]) == {BENT}
    medians = median_shares(planted, sizes).set_index(["measure", "family"])
    row = medians.loc[("labels_0", "mlp")]
    assert row["low"] <= row["share"] <= row["high"]
    assert row["share"] == pytest.approx(np.sort(shares[[f"cell{k:02d}" for k in range(8)]])[3])
    assert row[list(STATUSES)].sum() == 8 * 3
    assert medians.loc[("coin", "mlp")][["share", "low", "high"]].isna().all()


def test_the_answers_of_question_2_are_those_that_were_planted(planted):
    measures = [f"labels_{k}" for k in range(4)]
    (ranks, agree, smaller, rises), ranking = noise_answers(planted, AXES, equivalent_sizes(planted, measures))
    assert ranks.verdict == "holds", str(ranks)
    assert (ranking["psi share"] > 0.9).all()
    assert (ranking["psi value"] < 0.6).all()
    assert smaller.verdict == "holds", str(smaller)
    assert rises.verdict == "holds"
    assert rises.statistic > 0.95
    assert agree.statistic == pytest.approx(0, abs=0.05)  # all of them are the same labels, and the same scale
    assert agree.verdict == "does not hold"
    blocked, _ = noise_answers(planted, AXES, equivalent_sizes(planted, measures), "the oracle does not rank")
    assert str(blocked[0]).endswith("Verdict: undecidable here, because the oracle does not rank.")
    assert blocked[2].verdict == "holds"


def test_measures_that_see_the_same_labels_on_other_scales_agree_on_their_size_alone(planted):
    generator = np.random.default_rng(5)
    natural = planted["cell"].map({f"cell{k:02d}": 0.05 + 0.05 * k for k in range(16)}).fillna(0.5)
    labels = planted["n"] * (planted["corruption"] + (1 - planted["corruption"]) * natural)
    scales = [planted["cell"].map({f"cell{k:02d}": s for k, s in enumerate(generator.permutation(16) + 1.0)}).fillna(1.0) for _ in range(3)]
    table = planted.assign(**{f"own_{k}": scale * np.log(labels) for k, scale in enumerate(scales)})
    agree = noise_answers(table, AXES, equivalent_sizes(table, ["own_0", "own_1", "own_2"]))[0][1]
    assert agree.verdict == "holds", str(agree)
    assert "is on average 1.00 for n_μ/n" in agree.evidence


def test_coins_answer_nothing(planted):
    table = planted.assign(**{f"coin_{k}": np.random.default_rng(k).normal(size=len(planted)) for k in range(3)})
    answers, ranking = noise_answers(table, AXES, equivalent_sizes(table, [f"coin_{k}" for k in range(3)]))
    assert {answer.verdict for answer in answers[:2]} == {"inconclusive"}
    assert answers[0].why == "0 measures have a size in 4 cells, of which 6 pairs have gaps that differ"
    assert ranking.empty
    nothing, _ = noise_answers(table, AXES, equivalent_sizes(table, []))
    assert {answer.verdict for answer in nothing} == {"inconclusive"}


def test_the_answers_of_question_1_are_those_that_were_planted(planted):
    trained = ~planted["condition"].str.startswith("untrained")
    noise = np.random.default_rng(7).normal(0, 0.01, (len(planted), 6))
    gap = planted["gap"].where(trained, 0.5)
    table = planted.assign(**{f"good_{k}": gap + noise[:, k] / 10 for k in range(3)})
    table = table.assign(**{f"effort_{k}": np.log1p(table["updates"]) + noise[:, 3 + k] for k in range(2)}, coin_0=noise[:, 5])
    names = ["good_0", "good_1", "good_2", "effort_0", "effort_1", "coin_0"]
    judged = judge_table(table, AXES, names, [])
    survive, rank, predicts, same = survivor_answers(table, AXES, judged.judgements, Thresholds())
    assert (
        "With loss and effort held fixed 3 survive, 3 certainly do not (also some that are undecided by themselves), and 0 are open"
        in survive.evidence
    )
    assert survive.verdict == "does not hold"
    assert rank.verdict == "holds"
    assert "good_0, good_1, good_2." in rank.evidence
    assert predicts.verdict == "holds", str(predicts)
    assert same.verdict == "holds", str(same)
    only_good = {name: judged.judgements[name] for name in names[:3]}
    assert (
        survivor_answers(table, AXES, only_good, Thresholds())[2].why == "3 measures with a Ψ survive and 0 do not, and each side needs two"
    )


def test_the_kill_criterion_is_met_by_measures_that_tell_in_one_family_alone(planted):
    backwards = np.where(planted["family"] == "mlp", 1.0, -1.0)
    table = planted.assign(one=planted["gap"] * backwards, two=planted["gap"] * -backwards, three=planted["gap"])
    found = same_for_all_families(table, ["one", "two", "three"], Thresholds())
    assert found.verdict == "does not hold"
    assert "1 are the same in 8 cells of mlp, 8 cells of small-cnn, 2 differ (one, two), and 0 are open" in found.evidence
    nearly = planted["gap"].where(~((planted["cell"] == "cell00") & (planted["corruption"] == 1)), 0.0)
    open_ = same_for_all_families(table.assign(nearly=nearly), ["three", "nearly"], Thresholds())
    assert open_.shown_verdict == "undecidable here, because between 0 and 1 of 2 differ"
    alone = same_for_all_families(table.drop(columns="family"), ["three"], Thresholds())
    assert alone.why == "these runs have networks of one family only"


@pytest.mark.parametrize(
    ("effect", "verdict"),
    [
        (Effect(0.3, 0.1, 0.5), "holds"),
        (Effect(0.0, -0.2, 0.05), "does not hold"),
        (Effect(0.1, -0.2, 0.4), "inconclusive"),
        (Effect(), "inconclusive"),
    ],
)
def test_an_effect_decides_with_its_whole_interval_alone(effect, verdict):
    assert decide("Q1", "It grows.", effect, "").verdict == verdict
    assert decide("Q1", "It grows.", effect, "", why="it rains").verdict == "inconclusive"


def test_the_share_of_the_shatter_point_is_the_ratio_of_two_runs_of_a_cell():
    rows = [("a", "natural", 100, 2.0), ("a", "natural", 100, 4.0), ("a", "shatter point", 300, 12.0), ("b", "natural", 100, 9.0)]
    table = pd.DataFrame(rows, columns=["cell", "condition", "n", "norm"]).assign(fitted=True)
    assert shares_of_shatter_point(table, ["norm"]).to_dict("records") == [
        {"measure": "norm", "cells": 1, "smallest": 300, "largest": 300, "ratio": 0.25, "low": 0.25, "high": 0.25}
    ]
    assert shares_of_shatter_point(table[table["condition"] == "natural"], ["norm"]).empty
