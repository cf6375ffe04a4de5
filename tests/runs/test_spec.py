import json
from dataclasses import replace

import numpy as np
import pytest
import sklearn
import torch

from shattering import InputError, Randomization, RunSpec, grid, load_dataset
from shattering.runs.grid import read_grid
from shattering.runs.study import StudySpec
from tests.data.test_load import write_folder

BASE = RunSpec("digits", n_train=100, params={"network": "small-cnn", "epochs": 3}, seed=1)


def test_ids_are_fixed_for_good():
    """Stored runs are found by these ids: a change here orphans every run."""
    assert RunSpec().run_id == "9a027fc1a8a2"
    assert BASE.run_id == "685f37b96950"
    assert replace(BASE, randomization=Randomization(0.5, "gaussian")).run_id == "43fc7986dfd6"


@pytest.mark.parametrize(
    "same",
    [
        replace(BASE, params={"epochs": 3, "network": "small-cnn"}),
        replace(BASE, params={**BASE.params, "momentum": 0.9, "weight_decay": 0, "decay_steps": "auto", "stop_at_loss": None}),
        replace(BASE, params={**BASE.params, "device": "cpu", "checkpoint_every": 1.0, "compile": True}),
        replace(BASE, data_seed=1, noise_seed=1),
        replace(BASE, noise_seed=2),
        replace(BASE, randomization=Randomization(0, label_mode="flip", permute_channels=True)),
        RunSpec.from_json(json.loads(json.dumps(BASE.to_json()))),
    ],
)
def test_what_does_not_determine_the_result_is_not_in_the_id(same):
    assert same.run_id == BASE.run_id


def test_one_feature_and_all_features_are_two_runs():
    """scikit-learn's forests take max_features=1 as one feature and 1.0 as all; of most parameters 1 and 1.0 are one value."""
    one, everything = (RunSpec(model="random-forest", params={"max_features": value}) for value in (1, 1.0))
    assert one.run_id == "6586ff94345e", "the id that it has always had"
    assert everything.run_id != one.run_id
    assert RunSpec.from_json(json.loads(json.dumps(everything.to_json()))).run_id == everything.run_id
    assert len({RunSpec(model="random-forest", params={"ccp_alpha": value}).run_id for value in (1, 1.0)}) == 1


def test_equal_randomizations_are_equal():
    assert Randomization(0, label_mode="flip", permute_channels=True) == Randomization()
    assert Randomization(1, "gaussian", permute_channels=True) == Randomization(1, "gaussian")
    assert Randomization(1, label_mode="flip") != Randomization(1)


def test_what_determines_the_result_is_in_the_id():
    different = [
        replace(BASE, dataset="mnist"),
        replace(BASE, n_train=101),
        replace(BASE, n_test=50),
        replace(BASE, randomization=Randomization(0.5)),
        replace(BASE, randomization=Randomization(0.5, label_mode="flip")),
        replace(BASE, randomization=Randomization(pixels="shuffled")),
        replace(BASE, randomization=Randomization(pixels="shuffled", permute_channels=True)),
        replace(BASE, model="random-forest", params={}),
        replace(BASE, params={**BASE.params, "epochs": 4}),
        replace(BASE, params={**BASE.params, "precision": "bfloat16"}),
        replace(BASE, params={**BASE.params, "order_seed": 0}),
        replace(BASE, params={**BASE.params, "stop_at_loss": 0.01}),
        replace(BASE, seed=2),
        replace(BASE, data_seed=2),
        replace(BASE, randomization=Randomization(0.5), noise_seed=2),
        replace(BASE, randomization=Randomization(pixels="gaussian")),
        replace(BASE, randomization=Randomization(pixels="gaussian"), noise_seed=2),
    ]
    assert len({spec.run_id for spec in [BASE, *different]}) == len(different) + 1


def test_folds_of_randomized_labels_and_held_out_fifths_have_ids_of_their_own(tmp_path):
    """They were made otherwise before, so what an old store has of them is no answer; other runs keep their ids."""
    folds = RunSpec("digits", model="random-forest", folds=5, fold=0)
    assert "folds_by" not in folds.identity()
    assert replace(folds, randomization=Randomization(pixels="within-class")).identity().keys() == {*folds.identity(), "randomization"}
    assert replace(folds, randomization=Randomization(1, label_mode="permute")).identity()["folds_by"] == "the labels given"
    write_folder(tmp_path / "one", splits=("train",))
    write_folder(tmp_path / "two")
    load_dataset("digits", 10, 10).to_npz(tmp_path / "arrays.npz")
    one = RunSpec(str(tmp_path / "one"), model="random-forest")
    assert one.identity()["held_out"] == "by class"
    for other in (replace(one, hold_out=False), replace(one, folds=2, fold=0), replace(one, dataset=str(tmp_path / "two"))):
        assert "held_out" not in other.identity()
    assert "held_out" not in replace(one, dataset=str(tmp_path / "arrays.npz")).identity()
    assert "held_out" in RunSpec("imagenet-sample").identity(), "wherever it lies, or does not"


def test_what_a_script_sets_in_libraries_is_in_the_id():
    before = BASE.run_id
    torch.set_default_dtype(torch.float64)
    try:
        assert BASE.run_id != before
    finally:
        torch.set_default_dtype(torch.float32)
    with sklearn.config_context(transform_output="pandas"):
        assert BASE.run_id != before
    assert BASE.run_id == before


def test_a_number_has_one_spelling():
    assert len({RunSpec(params={"learning_rate": value}).run_id for value in (1, 1.0, 1e0)}) == 1


def test_true_is_not_one():
    with pytest.raises(InputError, match="warm_start is 1, expected true or false"):
        RunSpec(model="random-forest", params={"warm_start": 1})
    assert RunSpec(params={"stop_when_fitted": True}).run_id != RunSpec().run_id


def test_a_path_is_identified_by_content_and_named_by_its_stem(tmp_path):
    data = __import__("shattering").load_dataset("digits", n_train=50, n_test=20)
    (tmp_path / "a").mkdir()
    one, two = (RunSpec(str(data.to_npz(tmp_path / name))) for name in ("mine", "a/moved"))
    assert one.run_id == two.run_id
    assert one.folder_name.startswith("mine-mlp-1x512-s0-")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"model": "svm"}, "unknown model 'svm'; known: deep-relu, kernel, logistic-regression"),
        ({"model": "random-forest", "seed": 2**32}, "seed is 4294967296, expected at most 4294967295 for the model 'random-forest'"),
        ({"params": {"epoch": 3}}, "unknown parameter of model 'network': 'epoch'; did you mean 'epochs'"),
        ({"params": {"epochs": -3}}, "epochs is -3"),
        ({"params": {"network": object()}}, "network is an object, expected a value that JSON can hold"),
        ({"params": {"decay": float("inf")}}, "decay is inf, expected a finite number"),
        ({"seed": -1}, "seed is -1, expected a whole number of at least 0"),
        ({"seed": None}, "seed is None"),
        ({"n_train": 0}, "n_train is 0, expected a whole number of at least 1"),
        ({"n_train": 2.5}, "n_train is 2.5"),
        ({"n_test": True}, "n_test is True"),
    ],
)
def test_bad_specs(bad, message):
    with pytest.raises(InputError, match=message):
        RunSpec(**bad)


def test_bad_json():
    with pytest.raises(InputError, match="unknown field of a run's specification: 'labels'"):
        RunSpec.from_json({"labels": 1})
    with pytest.raises(InputError, match="is a list, expected an object"):
        RunSpec.from_json([])
    with pytest.raises(InputError, match="unknown field of randomization: 'noise'"):
        RunSpec.from_json({"randomization": {"noise": 1}})


def test_grid_is_the_product_in_order():
    specs = grid({"labels": [0, 1], "seed": [3, 4]}, {"network": ["small-cnn", "mlp-1x512"], "epochs": 2})
    assert len(specs) == 8
    assert [(s.randomization.labels, s.seed, s.params["network"]) for s in specs[:3]] == [
        (0.0, 3, "small-cnn"),
        (0.0, 3, "mlp-1x512"),
        (0.0, 4, "small-cnn"),
    ]
    assert all(s.params["epochs"] == 2 for s in specs)


def test_sweep_files(tmp_path):
    toml, several = tmp_path / "a.toml", tmp_path / "b.toml"
    toml.write_text('dataset = "digits"\nlabels = [0, 0.5]\n[set]\nnetwork = ["small-cnn"]\nepochs = 2\n')
    several.write_text('[[grid]]\nlabels = 1.0\n[[grid]]\npixels = ["random", "gaussian"]\nset = {epochs = 3}\n')
    (tmp_path / "c.json").write_text('{"labels": [0, 0.5], "dataset": "digits", "set": {"network": "small-cnn", "epochs": 2}}')
    assert [s.run_id for s in read_grid(toml)] == [s.run_id for s in read_grid(tmp_path / "c.json")]
    assert len(read_grid(several)) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels = [", "a.toml is not readable as TOML: "),
        ("labels = []", "labels is an empty list, expected at least one value"),
        ("nosuch = 1", "unknown field of a sweep: 'nosuch'; known: channels"),
        ("labels = 3", "labels is 3, expected a probability"),
        ("grid = [1]", "holds 1, expected a table of axes, or a list of such tables"),
    ],
)
def test_bad_sweep_files(tmp_path, text, message):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_grid(tmp_path / "a.toml")
    with pytest.raises(InputError, match=r"none\.toml is not there, expected a TOML or JSON file"):
        read_grid(tmp_path / "none.toml")


def test_parameters_may_be_numbers_of_numpy():
    numbers = {"epochs": np.int64(3), "momentum": np.float32(0.5), "stop_when_fitted": np.bool_(True)}
    spec = RunSpec(params=numbers)
    assert spec.run_id == RunSpec(params={"epochs": 3, "momentum": 0.5, "stop_when_fitted": True}).run_id
    assert RunSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert StudySpec("hessian", {"n": np.int64(20)}).run_id == StudySpec("hessian", {"n": 20}).run_id
