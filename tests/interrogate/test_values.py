import shutil
from dataclasses import replace

import pandas as pd
import pytest

from shattering import MEASURES, Store
from shattering.interrogate import values
from shattering.interrogate.capacity import OF_RUNS
from shattering.interrogate.table import runs_table
from shattering.interrogate.values import COLUMNS, measured, relate, stored_values


def l1_norm(fitted):
    return float(sum(weight.abs().sum() for weight in fitted.weights()))


def broken(fitted):
    raise ValueError("no such thing")


@pytest.fixture(scope="module")
def all_related(population):
    runs = population[0].runs()
    return relate(runs_table(runs)[0], runs)


@pytest.fixture
def three(population, all_related, tmp_path):
    """Three runs of the population, with their relatives, in a store of their own: (store, related)."""
    own = []
    for one in all_related[:3]:
        folder = tmp_path / one.run.folder.name
        shutil.copytree(one.run.folder, folder, ignore=shutil.ignore_patterns(values.FILE))
        own.append(values.Related(replace(one.run, folder=folder), one.twin, one.siblings))
    return Store(tmp_path), own


def test_twins_and_siblings_are_found(all_related, population):
    table, _ = runs_table(population[0].runs())
    twins = {row.condition: one.twin for row, one in zip(table.itertuples(), all_related, strict=True)}
    random = table.set_index("condition").loc["random", "run"]
    assert twins["natural"].run_id == twins["equal steps"].run_id == twins["random"].run_id == random
    assert twins["untrained natural"] is None
    assert all(list(one.siblings) == [] for one in all_related)


def test_values_are_those_of_the_measures_and_are_stored_beside_the_runs(three, monkeypatch):
    store, related = three
    rows = measured(related, {"l1_norm": l1_norm, "broken": broken, "disagreement": MEASURES["disagreement"]}, store)
    assert list(rows.columns) == [*COLUMNS, "run"]
    run = related[0].run
    weights = [p.detach() for name, p in run.model().module_.named_parameters() if name.endswith("weight")]
    own = rows[rows["run"] == run.run_id].set_index("measure")
    assert own.loc["l1_norm", "value"] == pytest.approx(float(sum(w.abs().sum() for w in weights)), rel=1e-5)
    assert own.loc["broken", "reason"] == "ValueError: no such thing"
    assert own.loc["disagreement", "reason"] == "there is no network trained from another seed"
    assert own["value"].isna().to_dict() == {"l1_norm": False, "broken": True, "disagreement": True}
    monkeypatch.setattr(values, "_measure", None)  # nothing is computed any more
    again = measured(related, {"l1_norm": l1_norm, "broken": broken}, store)
    pd.testing.assert_frame_equal(again, rows[rows["measure"] != "disagreement"].reset_index(drop=True))


def test_a_new_measure_retrains_nothing_and_an_edited_one_is_computed_again(three):
    store, related = three
    run = related[0].run
    before = (run.folder / "result.json").stat().st_mtime_ns
    measured(related, {"mine": l1_norm, "other": broken}, store)
    first = stored_values(run).set_index("measure")

    def edited(fitted):
        return 2 * l1_norm(fitted)

    measured(related, {"mine": edited, "other": broken}, store)
    second = stored_values(run).set_index("measure")
    assert second.loc["mine", "value"] == pytest.approx(2 * first.loc["mine", "value"])
    assert second.loc["mine", "version"] != first.loc["mine", "version"]
    pd.testing.assert_series_equal(second.loc["other"], first.loc["other"])  # not computed again: the same seconds
    assert (run.folder / "result.json").stat().st_mtime_ns == before


def test_a_value_that_may_depend_on_other_runs_is_computed_again_when_there_are_others(three):
    """An interrupted population has no twin yet; the values of then are not those of now."""
    store, (one, *_) = three
    before = values.Related(one.run, None, ())
    measures = {"rademacher_correlation": OF_RUNS["rademacher_correlation"], "n_parameters": MEASURES["n_parameters"]}
    assert measured([before], measures, store).set_index("measure")["value"].isna().to_dict() == {
        "rademacher_correlation": True,
        "n_parameters": False,
    }
    first = stored_values(one.run).set_index("measure")
    assert measured([one], measures, store).set_index("measure").loc["rademacher_correlation", "value"] == 1
    second = stored_values(one.run).set_index("measure")
    pd.testing.assert_series_equal(second.loc["n_parameters"], first.loc["n_parameters"])  # it looks at none: not computed again


def test_measuring_goes_on_where_it_was_interrupted_and_a_damaged_file_is_computed_again(three, monkeypatch):
    store, related = three
    calls, whole = [], values._measure

    def interrupted(one, functions):
        calls.append(one.run.run_id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(one, functions)

    monkeypatch.setattr(values, "_measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measured(related, {"l1_norm": l1_norm}, store)
    first = measured(related, {"l1_norm": l1_norm}, store)
    assert len(calls) == 2 + 2
    (related[1].run.folder / values.FILE).write_bytes(b"damaged")
    again = measured(related, {"l1_norm": l1_norm}, store)
    assert len(calls) == 5
    assert again["value"].tolist() == first["value"].tolist()
