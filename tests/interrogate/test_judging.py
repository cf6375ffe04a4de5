"""Verdicts on simulated tables, in which what each measure is worth was planted."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from shattering.interrogate.judging import Judged, judge_table
from shattering.interrogate.ranks import Cells, granulated, not_through_hyperparameters, robust
from shattering.interrogate.tells import Comparisons
from shattering.interrogate.verdicts import BACKWARDS, EFFORT, LOSS, NOT_COMPUTABLE, READS, ROBUST, SAME, TELLS, UNDECIDED
from tests.interrogate.simulated import AXES, simulate, with_measures

PLANTED = {
    "satisfies": ROBUST,
    "tells_only": TELLS,
    "spoiled_by_loss": LOSS,
    "spoiled_by_effort": EFFORT,
    "spoiled_by_data": READS,
    "backwards": BACKWARDS,
    "indifferent": SAME,
    "cannot_be_computed": NOT_COMPUTABLE,
    "infinite": TELLS,
}


@pytest.fixture(scope="module")
def simulated() -> tuple[pd.DataFrame, list[str], list[str]]:
    return with_measures(simulate())


@pytest.fixture(scope="module")
def judged(simulated) -> Judged:
    return judge_table(simulated[0], AXES, simulated[1], simulated[2])


def test_planted_verdicts_are_found(judged):
    assert {name: judged.judgements[name].verdict for name in PLANTED} == PLANTED


def test_all_controls_come_out_as_they_must(judged):
    assert {control.name for control in judged.controls if not control.ok} == set()
    assert len(judged.controls) == 15
    assert judged.blocked("all") == judged.blocked("ranking") == []


def test_sentences_have_the_numbers(judged):
    sentence = judged.judgements["satisfies"].sentence
    assert sentence.startswith(
        "satisfies is larger with random labels in 32 of 32 cells at equal loss, 32 of 32 cells at equal steps, 32 of 32 cells at both, "
    )
    assert "it tells natural from random labels. Ψ = 1.00 (1.00 … 1.00), K̃ = 100.0" in sentence
    assert "missing on 2" in judged.judgements["cannot_be_computed"].sentence
    assert not any("explain" in judgement.sentence for judgement in judged.judgements.values())


def test_tests_have_corrected_p_values(judged):
    rows = judged.tests.set_index(["measure", "test"])
    row = rows.loc["satisfies", "T1a"]
    assert row["p"] == pytest.approx(2 / 2**32)
    assert row["p"] <= row["holm"] <= len(PLANTED) * row["p"]
    assert rows.loc["satisfies", "T2"]["statistic"] > 0.9
    assert rows.loc["indifferent", "T2"]["p"] > 0.01
    assert np.isnan(rows.loc["satisfies", "T1d random pixels"]["statistic"])
    assert judged.best is not None
    assert judged.best[0] == "satisfies"


@pytest.fixture(scope="module")
def few(simulated) -> pd.DataFrame:
    """Six cells: with so few the least p-value is 0.03."""
    table = simulated[0]
    return table[table["cell"].isin([f"cell{k:02d}" for k in range(0, 32, 6)]) | table["condition"].str.startswith("untrained")]


def test_few_cells_decide_nothing(few, simulated):
    judged = judge_table(few, AXES, ["satisfies", "tells_only", "indifferent"], ["constant", "test_error"])
    assert {judged.judgements[name].verdict for name in ("satisfies", "tells_only", "indifferent")} == {UNDECIDED}
    assert judged.judgements["constant"].verdict == SAME  # equal in every pair, however few they are
    assert [control.name for control in judged.blocked("all")] == ["test_error"]  # the oracle must tell, and does not


def test_without_ladder_or_twins_nothing_is_said_to_tell():
    table, names, _ = with_measures(simulate(ladder=False, twins=False))
    judged = judge_table(table, AXES, names[:2], ["constant"])
    assert judged.judgements["satisfies"].verdict == UNDECIDED
    assert "(not tested at equal steps and at both)" in judged.judgements["satisfies"].sentence
    assert "it follows" not in judged.judgements["satisfies"].sentence


@pytest.mark.parametrize(
    ("control", "spoil"),
    [
        ("constant", lambda t: t["corruption"]),
        ("control_n_parameters", lambda t: t["corruption"]),
        ("training_loss", lambda t: t["corruption"]),
        ("log_steps", lambda t: t["corruption"]),
        ("test_error", lambda t: t["steps"]),
        ("nearest_neighbor_mismatch", lambda t: t["corruption"] * ~t["condition"].str.startswith("untrained")),
        ("usual_order", lambda t: t["corruption"]),
    ],
)
def test_a_control_that_comes_out_wrong_blocks_the_verdicts(simulated, control, spoil):
    table, _, _ = simulated
    judged = judge_table(table.assign(**{control: spoil(table)}), AXES, ["satisfies"], [control])
    assert [wrong.name for wrong in judged.blocked("all")] == [control]


def test_random_numbers_that_tell_block_the_verdicts(simulated):
    table, _, controls = simulated
    numbers = [name for name in controls if name.startswith("random_number")]
    spoiled = table.assign(random_number_02=table["corruption"])
    (wrong,) = judge_table(spoiled, AXES, ["satisfies"], numbers[1:3]).blocked("all")
    assert wrong.found.startswith("1 tell")


def test_where_the_oracle_cannot_rank_no_measure_is_said_to():
    """Gaps that differ by less than their standard error rank nothing."""
    table, _, controls = with_measures(simulate(spread=0.0, n_test=300))
    judged = judge_table(table, AXES, ["satisfies"], controls[:3])
    assert [control.name for control in judged.blocked("ranking")] == ["test_error"]
    assert judged.judgements["satisfies"].verdict == TELLS
    assert judged.judgements["satisfies"].sentence.endswith("Whether it ranks natural networks cannot be told here.")


def test_runs_that_missed_their_loss_are_left_out_with_their_pair_and_a_verdict_that_flips_is_marked(simulated):
    table = simulated[0].copy()
    missed = table["cell"].isin([f"cell{k:02d}" for k in range(8)]) & (table["condition"] == "random")
    table.loc[missed, "fitted"] = False
    table.loc[missed, "satisfies"] = -100.0
    judged = judge_table(table, AXES, ["satisfies", "tells_only"], [])
    assert judged.judgements["satisfies"].outcomes["T1a"].cells == 24
    assert judged.judgements["satisfies"].verdict == ROBUST
    assert set(judged.flipped) == {"satisfies"}


def test_the_ladder_is_interpolated_in_the_logarithm_of_the_steps():
    rows = [("natural", 30, 0.0), ("fewer", 10, 1.0), ("random", 90, 3.0)]
    table = pd.DataFrame(rows, columns=["condition", "steps", "value"]).assign(cell="a", seed=0, corruption=1.0, fitted=True)
    at = lambda own: Comparisons(table).at_both(np.array([own, 1.0, 3.0]))  # noqa: E731
    assert [at(own).statistic for own in (1.99, 2.0, 2.01)] == [1, 0.5, 0]
    assert at(float("nan")).cells == 0
    outside = Comparisons(table.assign(steps=[100, 10, 90])).at_both(np.array([0.0, 1.0, 3.0]))
    assert outside.cells == 0
    assert Comparisons(table).at_both(np.array([1.0, 1.0, np.inf])).statistic == 1


def test_a_pair_of_seeds_counts_as_one_cell():
    rows = [(cell, seed, condition) for cell in "ab" for seed in (0, 1) for condition in ("natural", "random")]
    table = pd.DataFrame(rows, columns=["cell", "seed", "condition"]).assign(steps=1, corruption=0.0, fitted=True)
    found = Comparisons(table).at_equal_loss(np.array([0.0, 9, 1, 0, 5, 6, 7, 8]))
    assert (found.cells, found.pairs, found.statistic) == (2, 4, 1.0)
    assert found.pair_low < 1


def _cells(gap, values, n_test=10**6) -> Cells:
    """Sixteen cells of four binary hyperparameters."""
    codes = np.array(np.unravel_index(np.arange(16), (2,) * 4)).T
    table = pd.DataFrame(codes, columns=list("pqrs")).assign(
        cell=[f"{k:02d}" for k in range(16)], gap=gap(codes), value=values(codes), gap_error=1e-4, n_test=n_test, seed=0
    )
    return Cells.of(table.assign(fitted=True, condition="natural", corruption=0.0), list("pqrs"))


def test_granulated_ranking_averages_over_hyperparameters_not_over_pairs():
    """The measure follows p alone, and against the gap along q."""
    cells = _cells(lambda c: c @ [8.0, 4, 2, 1], lambda c: 8.0 * c[:, 0] - c[:, 1])
    outcome, draws, psi = granulated(cells, "value")
    assert psi == {"p": 1.0, "q": -1.0, "r": 0.0, "s": 0.0}
    assert outcome.statistic == 0
    assert draws.shape == (2000,)


def test_information_through_a_hyperparameter_alone_is_none():
    own = np.random.default_rng(0).normal(0, 0.3, 16)
    through = _cells(lambda c: 8.0 * c[:, 0] + own, lambda c: c[:, 0] + np.random.default_rng(1).normal(0, 0.01, 16))
    direct = _cells(lambda c: 8.0 * c[:, 0] + own, lambda c: 8.0 * c[:, 0] + own)
    assert not_through_hyperparameters(direct, "value").statistic > 90
    assert not_through_hyperparameters(direct, "value").p < 0.05
    assert not_through_hyperparameters(through, "value").statistic < 15
    assert not_through_hyperparameters(through, "value").p > 0.05


def test_information_of_random_measures_is_none_on_average_however_few_cells():
    gap = np.random.default_rng(0).normal(size=16)
    cells = _cells(lambda c: gap, lambda c: gap)
    found = []
    for seed in range(12):
        cells.runs["value"] = np.random.default_rng(seed + 1).normal(size=16)
        found.append(not_through_hyperparameters(cells, "value"))
    assert np.mean([one.statistic for one in found]) < 0
    assert np.mean([one.p < 0.05 for one in found]) <= 0.1


def test_a_reversal_along_one_hyperparameter_is_a_sign_error_there():
    cells = _cells(lambda c: c @ [0.8, 0.4, 0.2, 0.1], lambda c: c @ [0.8, -0.4, 0.2, 0.1])
    found = robust(cells, "value")
    assert found.note.startswith("worst along q, 1.00; mean 0.25; 0 environments dropped")
    assert found.statistic == pytest.approx(0.7)  # the 90th percentile of 0, 0, 0, 1
    unsure = robust(dataclasses.replace(cells, table=cells.table.assign(n_test=5)), "value")
    assert np.isnan(unsure.statistic)
