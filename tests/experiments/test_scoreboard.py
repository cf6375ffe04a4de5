"""The scoreboard: each claim once, at the scale that tells most."""

import json
from dataclasses import replace

import pytest

from shattering import Store
from shattering.cli import main
from shattering.experiments.experiment import Result, judge
from shattering.experiments.scoreboard import every_result, scoreboard, scores
from shattering.runs.spec import RunSpec
from shattering.runs.stored import Run


def result(scale, *claims):
    return Result("table1", "Table 1", scale, f"n of {scale}", runs=[], claims=list(claims))


def claim(value, name="it fits", **more):
    return judge(name, "It fits.", "at least half", {"train": value}, lambda v: v["train"] >= 0.5, **more)


HOLDS, FAILS, MISSING, OPEN = claim(0.9), claim(0.1), claim(None), claim(0.9, doubts=["one seed"])
UNLIKE = claim(0.9, unlike="one image per class")


def test_verdicts_in_their_order():
    assert [c.verdict for c in (HOLDS, FAILS, MISSING, OPEN, UNLIKE)] == [
        *("holds", "does not hold", "missing", "inconclusive", "not comparable")
    ]
    assert (OPEN.why, UNLIKE.why, HOLDS.why) == ("one seed", "one image per class", "")
    assert claim(None, doubts=["one seed"]).verdict == "missing", "a doubt is about runs that are there"
    assert claim(None, unlike="one image per class").verdict == "not comparable", "whatever the runs give"
    assert UNLIKE.holds is None


@pytest.mark.parametrize(
    ("claims", "chosen"),
    [
        ((HOLDS, FAILS), "full"),
        ((HOLDS, OPEN), "small"),
        ((HOLDS, MISSING), "small"),
        ((OPEN, MISSING), "small"),
        ((OPEN, OPEN), "full"),
        ((MISSING, MISSING), "small"),
        ((MISSING, HOLDS), "full"),
        ((UNLIKE, MISSING), "small"),
    ],
)
def test_a_claim_is_judged_by_the_largest_scale_that_can(claims, chosen):
    (found,) = scores([result("small", claims[0]), result("full", claims[1])])
    assert found.result.scale == chosen


def test_rows_and_counts():
    many = judge("many", "All.", "all", dict.fromkeys("abcd", 0.5) | {"e": 0.7}, lambda v: True)
    same = judge("same", "All.", "all", dict.fromkeys("abcd", 1.0), lambda v: True)
    table = scoreboard(scores([result("small", HOLDS, replace(FAILS, name="other"), many, same)]))
    assert table.title == "4 claims: holds 3, does not hold 1"
    assert [row["ours"] for row in table.rows] == [
        *("train: 90.0%", "train: 10.0%", "5 of 5 values, from a: 50.0% to e: 70.0%", "4 of 4 values, all 100.0%")
    ]
    assert table.rows[0] == {
        "claim": "it fits",
        "paper": "It fits.",
        "ours": "train: 90.0%",
        "size": "n of small",
        "seeds": "none",
        "verdict": "holds",
        "where": "table1, small",
    }


def test_seeds_and_data_are_those_that_a_claim_looked_at(tmp_path):
    runs = [Run(RunSpec("digits", seed=seed), tmp_path / str(seed), "done", {"n_train": 9}, {}) for seed in range(3)]
    made = result("small", claim(0.9, runs=runs[:2]), claim(0.9, "as all"), replace(claim(0.9, "of other data"), size="n = 5"))
    found = scoreboard(scores([replace(made, runs=runs)]))
    assert [(row["seeds"], row["size"]) for row in found.rows] == [("2", "n of small"), ("3", "n of small"), ("3", "n = 5")]


def test_a_store_without_runs_has_every_claim_and_judges_none(tmp_path):
    found = scores(every_result(Store(tmp_path), ["table1", "polynomial", "table2"]))
    assert {score.claim.verdict for score in found} == {"missing", "not comparable"}
    assert [score.claim.name for score in found][:1] == ["everything fits random labels"]


def test_on_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("shattering.experiments.scoreboard.every_result", lambda store: every_result(store, ["polynomial"]))
    assert main(["paper", "--store", str(tmp_path), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert [(score["verdict"], score["where"]) for score in scores] == [("missing", "polynomial, demo")] * 2
    assert main(["paper", "--scale", "full"]) == 2
    assert "paper lacks WHAT, expected --store, --from, --json and --wide alone without it" in capsys.readouterr().err


def test_a_value_that_is_no_number_decides_nothing():
    claim = judge("both", "Both.", "at most 1", {"a": 0.5, "b": float("nan")}, lambda v: max(v.values()) <= 1)
    assert claim.shown_verdict == "inconclusive: b is no number"
