import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from shattering import InputError, Store
from shattering.cli import main
from shattering.interrogate.capacity import WHY_NONE
from shattering.interrogate.controls import DATA_CONTROLS
from shattering.interrogate.judging import judge_table
from shattering.interrogate.population import SCALES
from shattering.interrogate.result import Interrogation, interrogate
from shattering.interrogate.verdicts import ROBUST, Thresholds
from shattering.report.charts import to_spec
from shattering.runs.execute import run
from shattering.runs.study import StudySpec
from tests.interrogate.conftest import TINY
from tests.interrogate.simulated import AXES, simulate, with_measures


def l1_norm(fitted):
    return float(sum(weight.abs().sum() for weight in fitted.weights()))


def broken(fitted):
    raise ValueError("no such thing")


def test_a_measure_of_ones_own_is_judged_without_being_registered(population):
    store, runs = population
    found = interrogate({"l1_norm": l1_norm, "broken": broken}, store)
    assert found.measures == ["l1_norm", "broken"]
    assert len(found.table) == len(runs)
    assert found.table["l1_norm"].notna().all()
    assert found.reasons.to_dict("records") == [{"measure": "broken", "reason": "ValueError: no such thing", "runs": 6}]
    assert found.judged.judgements["broken"].verdict == "not computable"
    assert set(DATA_CONTROLS) < {control.name for control in found.judged.controls}


def test_with_one_cell_the_controls_block_the_verdicts_and_the_command_says_so(population, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(SCALES, "demo", TINY)
    out = tmp_path / "page.html"
    names = ["n_parameters", "steps", "shatter_point", "rademacher_correlation"]
    options = ["--store", str(population[0].root), "--measures", ",".join(names), "--out", str(out), "--jobs", "1", "--json"]
    status = main(["interrogate", "--scale", "demo", *options])
    told = json.loads(capsys.readouterr().out)
    assert status == 1
    assert told["blocked"].startswith("The control test_error must be 'tells natural from random labels'")
    blocked = {"verdict": "no verdict", "sentence": told["blocked"]}
    assert told["verdicts"] == dict.fromkeys(names, blocked)
    assert [(row["measure"], row["claim"]) for row in told["survey"]] == [
        ("rademacher_correlation", "inconclusive"),
        ("shatter_point", "inconclusive"),
    ]
    assert len(told["runs"]) == len(population[1])
    page = out.read_text()
    assert "<strong>No verdicts.</strong> The control test_error must be" in page
    assert not re.findall(r"<li><strong>n_parameters:", page)


def test_values_that_were_stored_are_judged_again_without_the_runs(population, tmp_path, capsys):
    store, _ = population
    names = ["n_parameters", "steps", "shatter_point", "seed_dissimilarity"]
    found = interrogate(names, store)
    path = found.store(Store(tmp_path), "demo").with_suffix(".parquet")
    again = interrogate(None, path)
    assert [vars(answer) for answer in again.answers] == [vars(answer) for answer in found.answers]
    assert again.to_json() == found.to_json()
    assert sum(machine["runs"] for machine in again.machines) == len(found.runs)
    page = again.to_html()
    assert f"{again.machines[0]['runs']} runs on {again.machines[0]['dataset']}" in page
    assert "All runs" not in page
    pd.testing.assert_frame_equal(interrogate(["steps"], path).table[["run", "steps"]], found.table[["run", "steps"]])
    for measures, message in [({"mine": l1_norm}, "which has values alone, expected a list of names"), (["margin"], "unknown measure")]:
        with pytest.raises(InputError, match=message):
            interrogate(measures, path)
    assert main(["interrogate", "--from", str(path), "--out", str(tmp_path / "page.html")]) == 1
    assert capsys.readouterr().out.startswith("The control test_error must be")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"broken\.parquet, expected the values of a stored interrogation \(.*\): "):
        interrogate(None, tmp_path / "broken.parquet")


def test_studies_of_stability_beside_stored_values_count(population, tmp_path):
    store, _ = population
    names = ["n_parameters", "average_stability", "uniform_stability"]
    path = interrogate(names, store).store(Store(tmp_path), "demo").with_suffix(".parquet")
    assert interrogate(None, path).table["average_stability"].isna().all()
    params = {"network": "mlp-1x16", "learning_rate": 0.05, "batch_size": 10, "epochs": 30}
    study = run(StudySpec("stability", {"dataset": "digits", "n": 40, "n_test": 20, "params": params, "n_replaced": 2}), Store(tmp_path))
    found = interrogate(names[:2], path)
    known = found.table.dropna(subset=["average_stability"])
    assert set(known["average_stability"]) == {study.result["own"]}
    assert set(known["condition"]) == {"natural"}
    trained = found.table[~found.table["condition"].str.startswith("untrained")]
    (missing,) = found.reasons.to_dict("records")
    assert missing == {"measure": "average_stability", "reason": WHY_NONE["average_stability"], "runs": len(trained) - len(known)}
    assert "uniform_stability" not in found.table
    again = found.store(Store(tmp_path), "again").with_suffix(".parquet")
    shutil.rmtree(study.folder)
    assert interrogate(None, again).table["average_stability"].equals(found.table["average_stability"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda rows: rows.drop(columns="gap"), "it has no gap"),
        (lambda rows: rows.assign(value=rows["value"].astype(str)), "its column value has the type "),
        (lambda rows: pd.concat([rows, rows.assign(value=0.0)]), "it has two values of one measure on one run"),
        (lambda rows: rows[rows["condition"] != "random"], "it has no runs on random labels"),
        (lambda rows: rows[:0], "it has no runs on original labels"),
        (lambda rows: rows.rename_axis(columns=None).assign(axes=0), "it has no axes"),
    ],
)
def test_stored_values_that_were_changed_are_refused(changed, message, population, tmp_path):
    rows = interrogate(["n_parameters"], population[0]).values_table
    made = changed(rows)
    made.attrs = {} if message.endswith("axes") else rows.attrs
    made.to_parquet(tmp_path / "values.parquet")
    with pytest.raises(InputError, match=rf"values\.parquet, expected the values of a stored interrogation .*: {message}"):
        interrogate(None, tmp_path / "values.parquet")


def test_a_file_that_is_no_parquet_and_one_that_is_not_there_are_no_values(tmp_path):
    (tmp_path / "values.csv").write_text("run,distance\n")
    for name in ("values.csv", "nothing.parquet"):
        with pytest.raises(InputError, match=rf"{name}, expected the values of a stored interrogation \(interrogation-SCALE.parquet, "):
            interrogate(None, tmp_path / name)
    with pytest.raises(InputError, match=r"nothing\.parquet, .*: there is no such file"):
        interrogate(None, tmp_path / "nothing.parquet")


def test_the_command_says_what_it_takes_in_place_of_a_table(tmp_path, capsys):
    (tmp_path / "values.csv").write_text("run,distance\n")
    assert main(["interrogate", "--from", str(tmp_path / "values.csv"), "--out", str(tmp_path / "page.html")]) == 1
    assert "values.csv, expected a folder of runs, or the values of a stored interrogation (inter" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ("--from STORE/nothing", 1, "--from is STORE/nothing, expected a folder of runs, or the values of a stored interrogation"),
        ("--from STORE/values.parquet", 1, "--from is STORE/values.parquet, expected a folder of runs, or the values of a stored"),
        ("--from STORE", 1, "runs has 0 runs of networks, and none trained to a loss on both original and random labels, expected a pop"),
        ("--from STORE --scale small", 2, "--scale is small beside --from, which runs nothing, expected one of the two"),
        ("--from STORE --data digits", 2, "--data is digits beside --from, which runs nothing"),
        ("--from STORE --engine ray", 2, "--engine is ray beside --from, which runs nothing"),
        ("--store STORE --measures n_parameter", 1, "unknown measure 'n_parameter'; did you mean 'n_parameters'?"),
    ],
)
def test_the_command_refuses_in_one_sentence_before_it_trains(options, status, message, tmp_path, capsys):
    words = options.replace("STORE", str(tmp_path)).split()
    assert main(["interrogate", *words, "--out", str(tmp_path / "page.html")]) == status
    assert message.replace("STORE", str(tmp_path)) in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        (["nonsense"], "unknown measure 'nonsense'"),
        ("n_parameters", "measures is 'n_parameters', expected a list of names or a mapping from names to functions"),
        ({"gap": l1_norm}, "measures has 'gap', expected a name that no column of the values and no control has"),
        ({"constant": l1_norm}, "measures has 'constant', expected a name"),
        ([], r"measures is \[\], expected a list of names or a mapping from names to functions"),
        (5, "measures is 5, expected a list of names or a mapping"),
        ({"mine": 5}, "measures has 5 as 'mine', expected a function of a Fitted"),
    ],
)
def test_bad_measures_are_refused_before_anything_is_computed(population, measures, message):
    with pytest.raises(InputError, match=message):
        interrogate(measures, population[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": 5}, "runs is 5, expected a store, its folder, or a list of runs"),
        ({"runs": None}, "runs is None, expected a store, its folder, or a list of runs"),
        ({"runs": ["a"]}, "runs has .a., expected a store, its folder, or a list of runs"),
        ({"runs": []}, "runs has 0 runs of networks, and none trained"),
        ({"runs": [], "thresholds": {"tells": 0.9}}, "thresholds is .*, expected"),
    ],
)
def test_what_is_no_population_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        interrogate(["n_parameters"], **options)


@pytest.fixture(scope="module")
def simulated() -> Interrogation:
    table, names, controls = with_measures(simulate())
    names = ["satisfies", "infinite", "cannot_be_computed"]
    details = pd.DataFrame(
        {"run": table["run"], "measure": "satisfies", "version": "1", "value": table["satisfies"], "reason": "", "seconds": 0.5}
    )
    details.loc[:2, ["value", "reason"]] = [float("nan"), "no <b>reason</b>"]
    judged = judge_table(table, AXES, names, [*controls[:3], "constant", "training_loss"])
    return Interrogation(table, details, AXES, names, judged, [], Thresholds())


def test_a_page_has_a_sentence_per_verdict_and_needs_nothing_from_outside(simulated, tmp_path):
    page = simulated.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == page
    _, _, findings = page.partition("<h2>Findings</h2>")
    assert f"<strong>1 of 3: {ROBUST}.</strong> satisfies</li>" in page
    assert re.findall(r"<li><strong>([^<]*)</strong>", findings.partition("one sentence each")[2]) == [
        f"satisfies: {ROBUST}.",
        "infinite: tells.",
        "cannot_be_computed: not computable.",
    ]
    assert "<strong>Verdicts are the same for all architectures, but for at most a third of the measures. Undecidable here, " in findings
    assert "No verdicts" not in page
    assert "no &lt;b&gt;reason&lt;/b&gt;" in page
    assert not re.findall(r"""(?:src|href)=["']https?:""", page)
    assert set(json.loads(page.partition('id="specs">')[2].partition("</script>")[0])) == {
        "leaderboard",
        "measure-satisfies",
        "measure-infinite",
        "measure-cannot_be_computed",
    }


def test_the_line_of_telling_is_at_the_threshold(simulated):
    other = replace(simulated, thresholds=replace(simulated.thresholds, tells=0.75))
    for found, at in ((simulated, 0.9), (other, 0.75)):
        drawn = [row for rows in to_spec(found.leaderboard())["datasets"].values() for row in rows]
        assert [row["x"] for row in drawn if row.get("name") == "tells"] == [at]


def test_the_result_is_frozen_and_its_json_is_json(simulated):
    with pytest.raises(AttributeError):
        simulated.table = None
    told = json.loads(json.dumps(simulated.to_json(), allow_nan=False))
    assert told["verdicts"]["satisfies"]["verdict"] == ROBUST
    assert told["best"]["measure"] == "satisfies"
    assert {row["name"] for row in told["controls"]} == {
        "test_error",
        "test_error_noise_0.02",
        "test_error_noise_0.05",
        "constant",
        "training_loss",
    }
    assert str(simulated).splitlines()[0].startswith(f"{ROBUST:24} satisfies is larger")
    assert str(simulated.verdicts["satisfies"]).startswith(f"{ROBUST}: satisfies is larger")


def test_a_figure_leaves_out_what_is_infinite(simulated):
    from shattering.report.charts import to_spec

    rows = next(iter(to_spec(simulated.figure("infinite"))["datasets"].values()))
    assert all(np.isfinite(row["value"]) for row in rows)
    with pytest.raises(InputError, match="unknown measure 'satisfy'; did you mean 'satisfies'"):
        simulated.figure("satisfy")


def test_controls_of_the_data_are_functions_of_the_data():
    import torch

    class OfData:
        n_classes = 2
        labels = torch.tensor([0, 0, 1, 1])

        def blocks(self):
            yield torch.tensor([[0.0, 1], [0.1, 1], [1, 0], [1, 0.1]])[:, None, None], self.labels

    mismatch, complexity = (DATA_CONTROLS[name] for name in ("nearest_neighbor_mismatch", "data_label_complexity"))
    natural = complexity(OfData())
    assert mismatch(OfData()) == 0
    OfData.labels = torch.tensor([0, 1, 0, 1])
    assert mismatch(OfData()) == 1
    assert complexity(OfData()) > 2 * natural


def test_nothing_is_praised_for_its_rank_where_the_oracle_does_not_rank(simulated):
    table = simulated.table.assign(gap_error=0.1)
    judged = judge_table(table, AXES, ["satisfies"], ["test_error"])
    found = replace(simulated, table=table, measures=["satisfies"], judged=judged)
    page = found.to_html()
    assert "<strong>No verdicts on ranking.</strong> The control test_error must be" in page
    assert "has the largest Ψ" not in page
    assert "has the largest Ψ" in simulated.to_html()


def test_measures_with_the_same_values_are_named(simulated):
    assert simulated.same == []
    values = simulated.table["satisfies"]
    twins = {"copy": values * (1 + 1e-4), "other": values + 0.01 * values.abs(), "gone": values.where(values.index != 3)}
    found = replace(simulated, table=simulated.table.assign(**twins), measures=[*simulated.measures, *twins])
    assert found.same == [["satisfies", "copy"]]
