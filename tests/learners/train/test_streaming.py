"""Training from images on disk, and going on in the middle of an epoch."""

import numpy as np
import pytest
import torch

from shattering import InputError, NetworkClassifier, Randomization, RunSpec, Store, load_dataset, randomize, run
from shattering.data import formats, row_groups
from shattering.data.lazy import ImagesOnDisk
from shattering.learners.train import checkpoint
from tests.conftest import make_split
from tests.data.test_lazy import mixed, write_mixed
from tests.data.test_load import pictures, write_parquet


class Stop(Exception):
    pass


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Images on disk, as if none fitted into memory."""
    write_mixed(tmp_path / "data")
    monkeypatch.setattr(formats, "fits_into_memory", lambda _: False)
    return tmp_path / "data"


def network(name="mlp-1x16", **params):
    common = {"epochs": 2, "batch_size": 7, "learning_rate": 0.01, "device": "cpu", "checkpoint_every": 0, "random_state": 3, "workers": 0}
    return NetworkClassifier(name, **{**common, **params})


def same(one, two):
    columns = one.history_.columns.drop("seconds")
    return one.history_[columns].equals(two.history_[columns]) and all(
        torch.equal(a, b) for a, b in zip(one.module_.state_dict().values(), two.module_.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("mlp-1x16", {"workers": 2}),
        ("inception", {"epochs": 1}),
        ("mlp-1x16", {"augment": ["flip", "crop"], "crop": 12, "evaluate_train": True}),
    ],
)
def test_training_from_disk_is_training_from_memory(folder, monkeypatch, name, params):
    noise = Randomization(0.5, "random")
    lazy = randomize(load_dataset(folder, image_size=16), noise, 1)
    monkeypatch.setattr(formats, "fits_into_memory", lambda _: True)
    held = randomize(load_dataset(folder, image_size=16), noise, 1)
    assert isinstance(lazy.train.inputs, ImagesOnDisk)
    one, two = (network(name, **params).fit(data.train, test=data.test) for data in (lazy, held))
    columns = [c for c in one.history_ if "full" not in c and "test" not in c and c != "seconds"]
    assert one.history_[columns].equals(two.history_[columns])
    for a, b in zip(one.module_.state_dict().values(), two.module_.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    np.testing.assert_allclose(one.history_.drop(columns="seconds"), two.history_.drop(columns="seconds"), rtol=1e-6)
    assert one.train_accuracy_ == two.train_accuracy_
    assert (one.train_predictions_ == two.predict(held.train)).all()
    assert (one.predict(lazy.test) == two.predict(held.test)).all()
    assert one.score(lazy.test) == two.score(held.test)


def stop_in_batch(monkeypatch, after):
    """Checkpoints after every update; the model stops after so many."""
    monkeypatch.setattr(checkpoint.Checkpointer, "_is_due", lambda _: True)
    save, saved = checkpoint.save_checkpoint, []

    def save_and_stop(*arguments):
        save(*arguments)
        saved.append(1)
        if len(saved) == after:
            raise Stop

    monkeypatch.setattr(checkpoint, "save_checkpoint", save_and_stop)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("mlp-1x16", {"workers": 2, "augment": ["flip"]}),
        ("mlp-2x16", {"dropout": 0.3, "track_examples": True}),
        ("inception", {"evaluate_train": True}),
    ],
)
@pytest.mark.parametrize("on_disk", [True, False])
def test_a_fit_resumed_in_the_middle_of_an_epoch_is_bitwise_the_uninterrupted_one(folder, tmp_path, monkeypatch, name, params, on_disk):
    monkeypatch.setattr(formats, "fits_into_memory", lambda _: not on_disk)
    data = randomize(load_dataset(folder, image_size=16), Randomization(0.5, "shuffled"), 1)
    whole = network(name, **params).fit(data.train, test=data.test)
    with monkeypatch.context() as m:
        stop_in_batch(m, after=7)  # four batches an epoch and one checkpoint after it: two batches into the second
        with pytest.raises(Stop):
            network(name, checkpoint_every=9, **params).fit(data.train, test=data.test, checkpoint=tmp_path / "c.pt")
    content = torch.load(tmp_path / "c.pt", weights_only=True)["training"]
    assert (len(content["history"]), content["epoch_state"]["batches"]) == (1, 2)
    resumed = network(name, **params).fit(data.train, test=data.test, checkpoint=tmp_path / "c.pt")
    assert same(whole, resumed)
    if "track_examples" in params:
        assert whole.examples_.equals(resumed.examples_)


def test_checkpoints_within_epochs_come_by_the_clock(tmp_path):
    path = tmp_path / "c.pt"
    seen = []

    def look(_):
        seen.append(torch.load(path, weights_only=True)["training"]["epoch_state"] if path.exists() else None)

    network(checkpoint_every=1e-6, epochs=1).fit(make_split(), checkpoint=path, on_epoch=look)
    network(checkpoint_every=1000, epochs=1).fit(make_split(), checkpoint=tmp_path / "d.pt")
    assert seen == [{}]
    assert not (tmp_path / "d.pt").exists()


def test_parts_of_a_batch_make_the_same_update():
    split = make_split(n=45)
    whole, parts = network(batch_size=20).fit(split), network(batch_size=20, accumulate=3).fit(split)
    for a, b in zip(whole.module_.state_dict().values(), parts.module_.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(whole.history_["train_loss"], parts.history_["train_loss"], rtol=1e-5)


def test_no_more_than_a_batch_is_decoded_at_a_time(tmp_path, monkeypatch):
    write_parquet(tmp_path / "train.parquet", pictures(600), [0, 1] * 300)
    monkeypatch.setattr(formats, "fits_into_memory", lambda _: False)
    monkeypatch.setattr(row_groups, "CACHE", 2000)
    data = randomize(load_dataset(tmp_path, image_size=4), Randomization(pixels="random"))
    asked, read = [], ImagesOnDisk.read_into
    monkeypatch.setattr(ImagesOnDisk, "read_into", lambda self, out, rows: asked.append(len(out)) or read(self, out, rows))
    model = network(epochs=1, batch_size=50).fit(data.train, test=data.test)
    model.predict(data.train)
    assert sum(asked) >= 3 * 480 + 120, "the epoch, both evaluations and the prediction"
    assert max(asked) <= 256


def spec_of(folder, **fields):
    params = {"network": "mlp-1x16", "epochs": 2, "batch_size": 8, "device": "cpu", "workers": 0}
    return RunSpec(str(folder), randomization=Randomization(0.5, "gaussian"), params=params, image_size=16, **fields)


def test_a_run_on_images_on_disk(folder, tmp_path, monkeypatch):
    lazy = run(spec_of(folder), Store(tmp_path / "a"))
    assert (lazy.result["n_train"], lazy.result["image_shape"]) == (24, [3, 16, 16])
    assert (lazy.folder / "examples.png").exists()
    assert "-16px-" in lazy.folder.name
    monkeypatch.setattr("shattering.runs.fit._last_loaded", {})
    monkeypatch.setattr(formats, "fits_into_memory", lambda _: True)
    held = run(spec_of(folder), Store(tmp_path / "b"))
    assert held.run_id == lazy.run_id
    for name in ("train_accuracy", "test_accuracy", "test_accuracy_on_corrupted_labels", "examples", "changed_fraction"):
        assert lazy.result[name] == held.result[name]


def test_skipped_images_are_in_the_result(folder, tmp_path):
    images = mixed(12)
    images[7] = images[7][: len(images[7]) // 2]
    write_parquet(folder / "train-00000-of-00002.parquet", images, [0, 1, 2] * 4)
    with pytest.raises(InputError, match="row 7 of column 'img'"):
        run(spec_of(folder), Store(tmp_path / "store"))
    done = run(spec_of(folder, skip_corrupt=True), Store(tmp_path / "store"))
    assert done.result["skipped_corrupt"] == {"train": 1, "test": 0}
    assert done.result["n_train"] == 23


def test_models_of_tables_refuse_images_on_disk(folder, tmp_path):
    spec = RunSpec(str(folder), model="random-forest", image_size=16)
    with pytest.raises(InputError, match=r"24 images of 16x16 pixels stay on disk, .* smaller ones \(image_size\)"):
        run(spec, Store(tmp_path / "store"))
    with pytest.raises(InputError, match="stay on disk"):
        network(standardize="feature").fit(load_dataset(folder, image_size=16).train)
