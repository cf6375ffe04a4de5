"""Runs whose model tracks its training examples."""

from dataclasses import replace

import pandas as pd
import pytest

from shattering import InputError, Randomization, RunSpec, Store, load_dataset, randomize, run
from shattering.measures.memorization import label_error_ranking

PARAMS = {"epochs": 3, "batch_size": 50, "device": "cpu", "checkpoint_every": 0}
PLAIN = RunSpec("digits", n_train=100, n_test=50, randomization=Randomization(0.3, label_mode="flip"), params=PARAMS, seed=2)
TRACKED = replace(PLAIN, params={**PARAMS, "track_examples": True})


def test_the_examples_are_stored_with_their_ids(tmp_path):
    done = run(TRACKED, Store(tmp_path / "a"))
    data = randomize(load_dataset("digits", 100, 50, seed=2), TRACKED.randomization, 2)
    model = TRACKED.build().fit(data.train)  # type: ignore[attr-defined]  # an estimator has fit
    pd.testing.assert_frame_equal(done.examples, model.examples_)
    assert done.examples["id"].tolist() == data.train.ids.tolist()
    assert done.examples["changed"].mean() == done.result["changed_fraction"] > 0
    assert done.examples["epochs_to_fit"].dtype == "Int64"
    assert label_error_ranking(done.examples)["id"].is_unique
    again = run(TRACKED, Store(tmp_path / "b"))
    assert (again.folder / "examples.parquet").read_bytes() == (done.folder / "examples.parquet").read_bytes()


def test_it_is_part_of_a_runs_identity_unless_it_is_off(tmp_path):
    assert replace(PLAIN, params={**PARAMS, "track_examples": False}).run_id == PLAIN.run_id != TRACKED.run_id
    plain = run(PLAIN, Store(tmp_path))
    assert "corrupted_accuracy" not in plain.history
    assert plain.result == run(TRACKED, Store(tmp_path)).result
    with pytest.raises(InputError, match=r"has no examples.parquet, expected a run of a network with track_examples"):
        _ = plain.examples
