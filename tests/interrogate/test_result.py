import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from shattering import InputError, Store
from shattering.cli import main
from shattering.interrogate import values
from shattering.interrogate.controls import DATA_CONTROLS
from shattering.interrogate.judging import judge_table
from shattering.interrogate.result import Interrogation, interrogate
from shattering.interrogate.verdicts import ROBUST, Thresholds
from tests.interrogate.simulated import AXES, simulate, with_measures


def l1_norm(fitted):
    return float(sum(weight.abs().sum() for weight in fitted.weights()))


def broken(fitted):
    raise ValueError("no such thing")


@pytest.fixture
def store(population, tmp_path):
    shutil.copytree(population[0].root, tmp_path / "runs")
    return Store(tmp_path / "runs")


def test_values_are_those_of_the_measures_and_are_stored_beside_the_runs(store, monkeypatch):
    found = interrogate({"l1_norm": l1_norm, "broken": broken}, store)
    row = found.table.set_index("run")
    one = store.runs()[0]
    weights = [p for name, p in one.model().module_.named_parameters() if name.endswith("weight")]
    assert row.loc[one.run_id, "l1_norm"] == pytest.approx(float(sum(w.abs().sum() for w in weights)), rel=1e-5)
    assert found.reasons.to_dict("records") == [{"measure": "broken", "reason": "ValueError: no such thing", "runs": 20}]
    assert found.judged.judgements["broken"].verdict == "not computable"
    monkeypatch.setattr(values, "_measure", None)  # nothing is computed any more
    again = interrogate({"l1_norm": l1_norm, "broken": broken}, store.runs())
    pd.testing.assert_frame_equal(again.table, found.table)
    assert interrogate({"l1_norm": l1_norm}, str(store.root)).measures == ["l1_norm"]


def test_a_new_measure_retrains_nothing_and_an_edited_one_is_computed_again(store):
    runs = store.runs()
    before = {run.folder: (run.folder / "result.json").stat().st_mtime_ns for run in runs}
    interrogate({"mine": l1_norm}, store)
    first = values.stored_values(runs[0]).set_index("measure")

    def edited(fitted):
        return 2 * l1_norm(fitted)

    found = interrogate({"mine": edited}, store)
    second = values.stored_values(runs[0]).set_index("measure")
    assert second.loc["mine", "value"] == pytest.approx(2 * first.loc["mine", "value"])
    assert second.loc["mine", "version"] != first.loc["mine", "version"]
    pd.testing.assert_frame_equal(second.loc[list(DATA_CONTROLS)], first.loc[list(DATA_CONTROLS)])  # not computed again: the same seconds
    assert {run.folder: (run.folder / "result.json").stat().st_mtime_ns for run in store.runs()} == before
    assert found.table["mine"].notna().all()


def test_measuring_goes_on_where_it_was_interrupted(store, monkeypatch):
    calls, whole = [], values._measure

    def interrupted(one, functions):
        calls.append(one.run.run_id)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return whole(one, functions)

    monkeypatch.setattr(values, "_measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        interrogate({"l1_norm": l1_norm}, store)
    interrogate({"l1_norm": l1_norm}, store)
    assert len(calls) == 5 + 28 - 4


def test_a_damaged_file_of_values_is_computed_again(store):
    first = interrogate({"l1_norm": l1_norm}, store)
    (store.runs()[0].folder / values.FILE).write_bytes(b"damaged")
    pd.testing.assert_series_equal(interrogate({"l1_norm": l1_norm}, store).table["l1_norm"], first.table["l1_norm"])


def test_with_two_cells_the_controls_block_the_verdicts_and_the_command_says_so(store, tmp_path, capsys):
    out = tmp_path / "page.html"
    status = main(["interrogate", "--from", str(store.root), "--measures", "n_parameters", "--out", str(out), "--jobs", "1", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert status == 1
    assert told["blocked"].startswith("The control test_error must be 'tells natural from random labels'")
    assert told["verdicts"] == {"n_parameters": {"verdict": "no verdict", "sentence": told["blocked"]}}
    page = out.read_text()
    assert "<strong>No verdicts.</strong> The control test_error must be" in page
    assert not re.findall(r"<li><strong>n_parameters:", page)


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        (["nonsense"], "unknown measure 'nonsense'"),
        ("n_parameters", "measures is 'n_parameters', expected a list of names or a mapping from names to functions"),
        ({"gap": l1_norm}, "measures has 'gap', expected a name that no column of the values and no control has"),
        ({"constant": l1_norm}, "measures has 'constant', expected a name"),
        ({"mine": 5}, "measures has 5 as mine, expected a function of a Fitted"),
    ],
)
def test_bad_measures_are_refused_before_anything_is_computed(population, measures, message):
    with pytest.raises(InputError, match=message):
        interrogate(measures, population[0])


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
    assert re.findall(r"<li><strong>([^<]*)</strong>", page) == [
        f"satisfies: {ROBUST}.",
        "infinite: tells.",
        "cannot_be_computed: not computable.",
    ]
    assert "No verdicts" not in page
    assert "no &lt;b&gt;reason&lt;/b&gt;" in page
    assert not re.findall(r"""(?:src|href)=["']https?:""", page)
    assert set(json.loads(page.partition('id="specs">')[2].partition("</script>")[0])) == {
        "leaderboard",
        "measure-0",
        "measure-1",
        "measure-2",
    }


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
