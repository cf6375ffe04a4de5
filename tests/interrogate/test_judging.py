"""Verdicts on simulated tables, in which what each measure is worth was planted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from shattering import MEASURES
from shattering.interrogate import ranks
from shattering.interrogate.capacity import OF_RUNS, OF_THE_TABLE
from shattering.interrogate.controls import control_columns
from shattering.interrogate.judging import Judged, judge_table
from shattering.interrogate.ranks import Cells, granulated, not_through_hyperparameters, robust
from shattering.interrogate.survey import SURVEY, survey_rows
from shattering.interrogate.tells import Comparisons
from shattering.interrogate.verdicts import (
    BACKWARDS,
    EFFORT,
    LOSS,
    NOT_COMPUTABLE,
    READS,
    ROBUST,
    SAME,
    TELLS,
    UNDECIDED,
    Thresholds,
)
from shattering.report.claims import FAILS, HOLDS, MISSING, OPEN
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


@pytest.fixture(scope="module", autouse=True)
def _few_permutations():
    """Of T4: more are drawn only where these do not decide."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "_PERMUTATIONS", 100)
        yield


def test_the_usual_order_of_a_cell_is_that_of_its_natural_runs_on_fewer_examples_too():
    table = simulate()
    cells = sorted(table["cell"].unique())
    table["n"] = table["cell"].map({cell: 1000 if cells.index(cell) % 2 else 250 for cell in cells})
    table.loc[table["condition"] == "fewer", "n"] //= 4
    orders = control_columns(table, ["n"])["usual_order"].groupby(table["cell"]).unique()
    assert {cell: list(found) for cell, found in orders.items()} == {cell: [-(cells.index(cell) % 2)] for cell in cells}


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
        "satisfies is larger with random labels in 16 of 16 cells at equal loss, 16 of 16 cells at equal steps, 16 of 16 cells at both, "
    )
    assert "it tells natural from random labels. Ψ = 1.00 (1.00 … 1.00), K̃ = 100.0" in sentence
    assert "missing on 3" in judged.judgements["cannot_be_computed"].sentence
    assert not any("explain" in judgement.sentence for judgement in judged.judgements.values())


def test_tests_have_corrected_p_values(judged):
    rows = judged.tests.set_index(["measure", "test"])
    row = rows.loc["satisfies", "T1a"]
    assert row["p"] == pytest.approx(2 / 2**16)
    assert row["p"] <= row["holm"] <= len(PLANTED) * row["p"]
    assert rows.loc["satisfies", "T2"]["statistic"] > 0.9
    assert rows.loc["indifferent", "T2"]["p"] > 0.01
    assert np.isnan(rows.loc["satisfies", "T1d random pixels"]["statistic"])
    assert judged.best is not None
    assert judged.best[0] == "satisfies"


def test_the_survey_says_of_each_measure_whether_it_tells(judged):
    """The planted measures under the names of measures of the survey."""
    planted = {"distance": "satisfies", "inverse_margin": "spoiled_by_loss", "code_length": "cannot_be_computed"}
    judgements = {name: judged.judgements[of] for name, of in planted.items()} | {"not_in_the_survey": judged.judgements["satisfies"]}
    missing = {name: judgement.missing for name, judgement in judgements.items()}
    rows = survey_rows(judgements, missing, Thresholds())
    assert rows["family"].tolist() == ["margin bounds", "norms", "PAC-Bayes"]
    assert dict(zip(rows["measure"], rows["claim"], strict=True)) == {"inverse_margin": FAILS, "distance": HOLDS, "code_length": MISSING}
    assert rows.set_index("measure").loc["distance", ["T1a", "T1b", "T1c"]].tolist() == [1, 1, 1]
    assert set(survey_rows(judgements, missing, Thresholds(), is_blocked=True)["claim"]) == {OPEN}


def test_the_survey_asks_only_for_runs_on_natural_and_on_random_labels(judged):
    """A measure that others lack is judged; without a ladder of fewer labels, it is open unless it fails at equal loss."""
    of = {"distance": "satisfies", "stable_rank": "indifferent"}
    without = {"T1c": replace(judged.judgements["satisfies"].outcomes["T1c"], statistic=np.nan, cells=0)}
    found = {name: judged.judgements[name] for name in of.values()}
    judgements = {
        name: replace(found[planted], outcomes={**found[planted].outcomes, **without}, missing=0.6) for name, planted in of.items()
    }
    rows = survey_rows(judgements, dict.fromkeys(of, 0.1), Thresholds()).set_index("measure")
    assert rows["claim"].to_dict() == {"distance": OPEN, "stable_rank": FAILS}
    assert rows.loc["distance", "why"] == "at both nothing could be compared"
    assert set(survey_rows(judgements, dict.fromkeys(of, 0.11), Thresholds())["claim"]) == {MISSING}


def test_the_survey_names_measures_that_exist():
    assert {name for names in SURVEY.values() for name in names} <= {*MEASURES, *OF_RUNS, *OF_THE_TABLE}


@pytest.fixture(scope="module")
def few(simulated) -> pd.DataFrame:
    """Six cells: with so few the least p-value is 0.03."""
    table = simulated[0]
    return table[table["cell"].isin([f"cell{k:02d}" for k in range(0, 16, 3)]) | table["condition"].str.startswith("untrained")]


def test_few_cells_decide_nothing(few, simulated):
    judged = judge_table(few, AXES, ["satisfies", "tells_only", "indifferent"], ["constant", "test_error"])
    assert {judged.judgements[name].verdict for name in ("satisfies", "tells_only", "indifferent")} == {UNDECIDED}
    assert judged.judgements["constant"].verdict == SAME  # equal in every pair, however few they are
    assert [control.name for control in judged.blocked("all")] == ["test_error"]  # the oracle must tell, and does not


def test_without_ladder_or_twins_nothing_is_said_to_tell(simulated):
    table = simulated[0][~simulated[0]["condition"].isin(["fewer", "equal steps"])]
    judged = judge_table(table, AXES, ["satisfies", "tells_only"], ["constant"])
    assert judged.judgements["satisfies"].verdict == UNDECIDED
    assert "(not tested at equal steps and at both)" in judged.judgements["satisfies"].sentence
    assert "it follows" not in judged.judgements["satisfies"].sentence


def test_without_partly_random_labels_everything_else_is_judged(simulated):
    table = simulated[0][simulated[0]["condition"] != "partial"]
    judged = judge_table(table, AXES, ["satisfies", "tells_only"], ["constant"])
    assert judged.judgements["satisfies"].verdict == ROBUST
    assert judged.judgements["satisfies"].outcomes["T3 half"].cells == 0


def test_runs_of_which_none_has_reached_its_loss_decide_nothing(simulated):
    judged = judge_table(simulated[0].assign(fitted=False), AXES, ["satisfies"], [])
    assert judged.judgements["satisfies"].verdict == NOT_COMPUTABLE


SPOILED = {
    "constant": lambda t: t["corruption"],
    "control_n_parameters": lambda t: t["corruption"],
    "training_loss": lambda t: t["corruption"],
    "log_steps": lambda t: t["corruption"],
    "test_error": lambda t: t["updates"],
    "nearest_neighbor_mismatch": lambda t: t["corruption"] * ~t["condition"].str.startswith("untrained"),
    "usual_order": lambda t: t["corruption"],
    "random_number_02": lambda t: t["corruption"],
}


def test_each_control_that_comes_out_wrong_blocks_the_verdicts(simulated):
    """The others are as they must be, see above; here each is given values that come out otherwise."""
    table = simulated[0].assign(**{control: spoil(simulated[0]) for control, spoil in SPOILED.items()})
    judged = judge_table(table, AXES, ["satisfies"], [*SPOILED, "random_number_01", "training_error"])
    wrong = {control.name: control.found for control in judged.blocked("all")}
    assert set(wrong) == {*SPOILED, "random numbers"} - {"random_number_02"}
    assert wrong["random numbers"].startswith("1 tell")


def test_where_the_oracle_cannot_rank_no_measure_is_said_to(simulated):
    """Gaps that differ by less than their standard error rank nothing."""
    table, _, controls = simulated
    judged = judge_table(table.assign(gap_error=0.1), AXES, ["satisfies"], controls[:3])
    assert [control.name for control in judged.blocked("ranking")] == ["test_error"]
    assert judged.judgements["satisfies"].verdict == TELLS
    assert judged.judgements["satisfies"].sentence.endswith("Whether it ranks natural networks cannot be told here.")


def test_runs_that_missed_their_loss_are_left_out_with_their_pair_and_a_verdict_that_flips_is_marked(simulated):
    table = simulated[0].copy()
    missed = table["cell"].isin([f"cell{k:02d}" for k in range(4)]) & (table["condition"] == "random")
    table.loc[missed, "fitted"] = False
    table.loc[missed, "satisfies"] = -100.0
    judged = judge_table(table, AXES, ["satisfies", "tells_only"], [])
    assert judged.judgements["satisfies"].outcomes["T1a"].cells == 12
    assert judged.judgements["satisfies"].verdict == ROBUST
    assert set(judged.flipped) == {"satisfies"}


def test_the_ladder_is_interpolated_in_the_logarithm_of_the_steps():
    rows = [("natural", 30, 0.0), ("fewer", 10, 1.0), ("random", 90, 3.0)]
    table = pd.DataFrame(rows, columns=["condition", "updates", "value"]).assign(cell="a", seed=0, corruption=1.0, fitted=True)
    at = lambda own: Comparisons(table).at_both(np.array([own, 1.0, 3.0]))  # noqa: E731
    assert [at(own).statistic for own in (1.99, 2.0, 2.01)] == [1, 0.5, 0]
    assert at(float("nan")).cells == 0
    outside = Comparisons(table.assign(updates=[100, 10, 90])).at_both(np.array([0.0, 1.0, 3.0]))
    assert outside.cells == 0
    assert Comparisons(table).at_both(np.array([1.0, 1.0, np.inf])).statistic == 1


def test_a_pair_of_seeds_counts_as_one_cell():
    rows = [(cell, seed, condition) for cell in "ab" for seed in (0, 1) for condition in ("natural", "random")]
    table = pd.DataFrame(rows, columns=["cell", "seed", "condition"]).assign(updates=1, corruption=0.0, fitted=True)
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


def test_however_many_measures_a_perfect_one_can_reach_significance_after_the_correction():
    """With 500 permutations the least p is 0.002, which times 63 measures is more than 0.05: nothing could ever rank."""
    direct = _cells(lambda c: c @ [8.0, 4, 2, 1], lambda c: c @ [8.0, 4, 2, 1])
    assert 63 * not_through_hyperparameters(direct, "value", 63).p < 0.05 < 63 / 501
    assert not_through_hyperparameters(direct, "value", 1).p < 0.05


def test_information_of_random_measures_is_none_on_average_however_few_cells():
    gap = np.random.default_rng(0).normal(size=16)
    cells = _cells(lambda c: gap, lambda c: gap)
    found = []
    for seed in range(8):
        cells.runs["value"] = np.random.default_rng(seed + 1).normal(size=16)
        found.append(not_through_hyperparameters(cells, "value"))
    assert np.mean([one.statistic for one in found]) < 0
    assert np.mean([one.p < 0.05 for one in found]) <= 0.125


def test_sign_errors_are_per_environment_not_the_worst_of_each_hyperparameter():
    """One hyperparameter of five values has ten environments, in one of which, from its third value to its fourth, the measure is wrong."""
    cells = _cells(lambda c: c @ [0.8, 0.4, 0.2, 0.1], lambda c: c @ [0.8, 0.4, 0.2, 0.1])
    p = np.arange(5).repeat(8)
    table = pd.DataFrame({"p": p, "q": np.tile(np.arange(8), 5), "gap": 0.1 * p, "error": 0.0, "n_test": 1e6})
    first, second = (np.array(side, dtype=int) for side in np.triu_indices(len(table), 1))
    along = {"p": (table["q"].to_numpy()[first] == table["q"].to_numpy()[second])}
    ranks = np.array([0.0, 1.0, 3.0, 2.0, 4.0])[p]
    runs = pd.DataFrame({"cell": np.arange(len(table)), "value": ranks})
    made = replace(cells, runs=runs, table=table, axes=["p"], first=first, second=second, along=along)
    found = robust(made, "value")
    assert found.pairs == 10
    assert found.note == "worst along p, 1.00; mean 0.10; 0 environments dropped"
    assert found.statistic == pytest.approx(0.1), "the 90th percentile of nine zeros and a one, between the ninth and the tenth"


def test_a_reversal_along_one_hyperparameter_is_a_sign_error_there():
    cells = _cells(lambda c: c @ [0.8, 0.4, 0.2, 0.1], lambda c: c @ [0.8, -0.4, 0.2, 0.1])
    found = robust(cells, "value")
    assert found.note.startswith("worst along q, 1.00; mean 0.25; 0 environments dropped")
    assert found.statistic == pytest.approx(0.7)  # the 90th percentile of 0, 0, 0, 1
    assert found.pairs == 4
    unsure = robust(replace(cells, table=cells.table.assign(n_test=5)), "value")
    assert np.isnan(unsure.statistic)
