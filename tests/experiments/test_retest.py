import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from shattering import InputError, Randomization, RunSpec, Store, load_dataset, run
from shattering.cli import main
from shattering.data.dataset import Dataset
from shattering.experiments import reproduce
from shattering.experiments.retest import GROUPS, _fit, make_result, retest

PARAMS = {"network": "mlp-1x16", "epochs": 5, "batch_size": 10, "learning_rate": 0.05}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two networks on natural labels and one on random ones, one on random pixels, and one without weights."""
    store = Store(tmp_path_factory.mktemp("retest"))
    for seed, r in ((0, Randomization()), (1, Randomization()), (0, Randomization(1.0)), (0, Randomization(pixels="random"))):
        run(RunSpec("digits", 100, 200, r, params=PARAMS, seed=seed), store)
    run(RunSpec("digits", 100, 200, model="nearest-neighbors"), store)
    return store


def test_stored_networks_are_tested_on_the_images_that_they_have_not_used(store):
    found = retest(store)
    assert found.table["labels"].tolist() == ["original labels"] * 2 + ["random labels"]
    assert found.table["n_second"].tolist() == [300] * 3
    assert (found.table["left_out"] == 0).all()
    natural = found.table.iloc[0]
    own = store.of(RunSpec("digits", 100, 200, params=PARAMS)).whole()
    whole = load_dataset("digits").test
    used = load_dataset("digits", 100, 200).test.ids
    rows = torch.from_numpy(np.flatnonzero(~np.isin(whole.ids, used)))
    assert natural["second"] == pytest.approx((own.model().predict(whole.subset(rows).inputs.numpy()) == whole.labels[rows].numpy()).mean())
    assert natural["first"] == own.result["test_accuracy"]
    assert natural["second_low"] < natural["second"] < natural["second_high"]
    assert natural["second"] > 0.5 > found.table["second"].iloc[2]
    assert {name.split("-")[-1]: why for name, why in found.skipped}.keys().isdisjoint(found.table["run"])
    assert len(found.skipped) == 2
    assert found.fits["models"].tolist() == [2, 1]
    assert found.fits["slope"].isna().all()


def test_images_that_a_run_has_seen_do_not_count_again(store):
    found = retest(store.runs(), load_dataset("digits"))
    assert found.data == "Dataset"
    assert found.table["n_second"].tolist() == [300] * 3
    assert found.table["left_out"].tolist() == [200] * 3


def test_the_line_over_models_is_found_with_its_interval():
    first = np.linspace(0.2, 0.9, 40)
    noise = np.random.default_rng(0).normal(0, 0.01, 40)
    fit = _fit(pd.DataFrame({"first": first, "second": 1.5 * first - 0.4 + noise}), "test")
    assert fit["slope_low"] < 1.5 < fit["slope_high"]
    assert fit["intercept_low"] < -0.4 < fit["intercept_high"]
    assert fit["slope_high"] - fit["slope_low"] < 0.1
    assert fit["change"] == pytest.approx(0.5 * first.mean() - 0.4 + noise.mean())
    flat = _fit(pd.DataFrame({"first": [0.5] * 4, "second": [0.4, 0.5, 0.6, 0.5]}), "test")
    assert np.isnan(flat["slope"])
    assert flat["change"] == pytest.approx(0)


def test_labels_follow_the_names_of_the_classes(tmp_path):
    """A second set whose classes are the same in another order gives the same accuracy; one with other classes is refused."""
    data = load_dataset("digits", 100, 100)
    names = [f"class {k}" for k in range(10)]
    for split, part in (("train", data.train), ("test", data.test)):
        _write(tmp_path / "first" / split, part, names)
    _write(tmp_path / "second" / "only", load_dataset("digits").test.subset(torch.arange(60)), names)
    done = run(RunSpec(str(tmp_path / "first"), params=PARAMS), Store(tmp_path / "runs"))
    (row,) = retest([done], str(tmp_path / "second" / "only")).table.to_dict("records")
    assert row["second"] > 0.5
    second = load_dataset(str(tmp_path / "second" / "only"), hold_out=False)
    turned = replace(second.test, labels=9 - second.test.labels, true_labels=9 - second.test.labels, classes=tuple(names[::-1]))
    assert retest([done], replace(second, train=turned, test=turned)).table["second"].tolist() == [row["second"]]
    _write(tmp_path / "third" / "only", data.test, [f"other {k}" for k in range(10)])
    with pytest.raises(InputError, match=r"data has the class 'other 0', expected those that the run knows: class 0, class 1"):
        retest([done], str(tmp_path / "third" / "only"))
    with pytest.raises(InputError, match=r"tested on all test images of .*first, expected data with others of the same classes"):
        retest([done])
    with pytest.raises(InputError, match="data has inputs of shape"):
        retest([done], _table())


def _table() -> Dataset:
    from shattering.data.arrays import dataset_from_arrays

    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    return dataset_from_arrays(X, y, X, y)


def _write(folder, split, names):
    from PIL import Image

    for i, (image, label) in enumerate(zip(split.inputs, split.labels.tolist(), strict=True)):
        place = folder / names[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy().astype(np.uint8)).save(place / f"{i}.png")


def test_the_command_writes_a_page_and_says_what_it_left_out(store, tmp_path, capsys, monkeypatch):
    written = []
    monkeypatch.setattr(reproduce, "write_result", lambda result, folder, style: written.append(result) or [folder / "retest-stored.html"])
    assert main(["retest", "--store", str(store.root), "--out", str(tmp_path / "page"), "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert [row["labels"] for row in told["fits"]] == ["original labels", "random labels"]
    assert len(told["models"]) == 3
    assert len(told["skipped"]) == 2
    assert err.count("skipped digits-") == 2
    assert written[0].charts.keys() == {"retest"}
    assert told["files"] == [str(tmp_path / "page" / "retest-stored.html")]
    run_id = told["models"][0]["run"]
    assert main(["retest", "--store", str(store.root), "--run", run_id, "--data", "nowhere", "--out", str(tmp_path)]) == 1
    assert "nowhere" in capsys.readouterr().err
    page = make_result(retest([store.find(run_id)]))
    assert page.tables[0].rows[0]["slope"] is None
    assert set(GROUPS) >= {row["labels"] for row in page.tables[1].rows}


def test_a_store_without_networks_says_why():
    with pytest.raises(InputError, match="runs has none that can be tested again"):
        retest([])
