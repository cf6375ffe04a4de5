import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from shattering import NetworkClassifier, Randomization, Split, load_dataset, randomize
from shattering.errors import InputError
from shattering.learners.devices import resolve_device
from shattering.learners.train.tracker import Tracker
from tests.conftest import make_split
from tests.learners.train.test_loop import Stop, stop_after


def noisy(n=45, k=4, share=0.4, **of) -> Split:
    """A split some of whose labels are changed, and whose ids are not its rows."""
    split = make_split(n=n, n_classes=k, **of)
    true = split.labels
    changed = torch.from_numpy(np.random.default_rng(9).random(n) < share)
    return Split(split.inputs, torch.where(changed, (true + 1) % k, true), split.classes, 7 * torch.arange(n) + 3, true)


def presentations(monkeypatch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(rows, logits) of every batch that any tracker records."""
    seen, record = [], Tracker.record

    def keep(tracker, rows, logits):
        seen.append((rows.clone(), logits.clone()))
        record(tracker, rows, logits)

    monkeypatch.setattr(Tracker, "record", keep)
    return seen


def obvious(split: Split, seen, epochs: int) -> tuple[list[dict], list[dict]]:
    """Rows of the history, and of the examples, from all that was recorded, one example after another."""
    predicted, losses = [[-1] * len(split) for _ in range(epochs)], [[math.nan] * len(split) for _ in range(epochs)]
    per_epoch = len(seen) // epochs
    for i, (rows, logits) in enumerate(seen):
        for row, z in zip(rows.tolist(), logits.double(), strict=True):
            predicted[i // per_epoch][row] = int(z.argmax())
            losses[i // per_epoch][row] = float(z.logsumexp(0) - z[split.labels[row]])
    label, true = split.labels.tolist(), split.true_labels.tolist()

    def mean(values):
        values = list(values)
        return sum(values) / len(values) if values else math.nan

    clean, wrong = ([i for i in range(len(split)) if (label[i] == true[i]) == same] for same in (True, False))
    history = [
        {
            "clean_accuracy": mean(p[i] == label[i] for i in clean),
            "corrupted_accuracy": mean(p[i] == label[i] for i in wrong),
            "corrupted_as_true": mean(p[i] == true[i] for i in wrong),
            "clean_loss": mean(loss[i] for i in clean),
            "corrupted_loss": mean(loss[i] for i in wrong),
        }
        for p, loss in zip(predicted, losses, strict=True)
    ]
    examples = []
    for i in range(len(split)):
        right = [p[i] == label[i] for p in predicted]
        fitted_at = [e for e in range(epochs) if all(right[e:])]
        examples.append(
            {
                "id": int(split.ids[i]),
                "label": label[i],
                "true_label": true[i],
                "changed": label[i] != true[i],
                "epochs_to_fit": fitted_at[0] + 1 if fitted_at else pd.NA,
                "first_fit": right.index(True) + 1 if any(right) else pd.NA,
                "forgetting_events": sum(a and not b for a, b in pairwise(right)),
                "mean_loss": mean(loss[i] for loss in losses),
                "final_loss": losses[-1][i],
                "final_prediction": predicted[-1][i],
            }
        )
    return history, examples


def assert_as_recorded(net: NetworkClassifier, split: Split, seen) -> None:
    history, examples = obvious(split, seen, net.n_iter_)
    expected = pd.DataFrame(examples).astype({"epochs_to_fit": "Int64", "first_fit": "Int64"})
    pd.testing.assert_frame_equal(net.examples_, expected, check_dtype=False, rtol=1e-4, atol=1e-6)
    ours = net.history_[list(history[0])]
    pd.testing.assert_frame_equal(ours, pd.DataFrame(history), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "params",
    [
        {"network": "mlp-1x4", "learning_rate": 0.3},
        {"network": "small-cnn", "augment": ["crop", "flip"]},
        {"network": "mlp-1x64", "dropout": 0.3},
    ],
    ids=["mlp", "augmented", "dropout"],
)
def test_it_agrees_with_recording_everything(monkeypatch, params, seed):
    split, seen = noisy(seed=seed), presentations(monkeypatch)
    net = NetworkClassifier(epochs=8, batch_size=11, track_examples=True, device="cpu", random_state=seed, **params).fit(split)
    assert [len(rows) for rows, _ in seen[:4]] == [11, 11, 11, 12]  # the last one of 45 joins its neighbour
    assert_as_recorded(net, split, seen)
    if params.get("learning_rate"):
        assert net.examples_["forgetting_events"].max() > 0
        assert net.examples_["epochs_to_fit"].isna().any()


@pytest.mark.parametrize("params", [{}, {"augment": "crop"}, {"dropout": 0.5}, {"precision": "bfloat16"}, {"network": "inception"}])
def test_training_is_bitwise_the_same_with_and_without(params):
    split, test = noisy(shape=(3, 8, 8)), make_split(n=10, shape=(3, 8, 8), seed=1)
    params = {"network": "mlp-3x512", "epochs": 3, "batch_size": 16, "device": "cpu", **params}
    without, tracked = (NetworkClassifier(track_examples=t, **params).fit(split, test=test) for t in (False, True))
    columns = [name for name in without.history_ if name != "seconds"]
    assert tracked.history_[columns].equals(without.history_[columns])
    assert without.examples_ is None
    for a, b in zip(without.module_.state_dict().values(), tracked.module_.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_running_numbers_are_those_of_the_parts():
    net = NetworkClassifier("mlp-1x64", epochs=4, batch_size=16, track_examples=True).fit(noisy())
    history, share = net.history_, net.examples_["changed"].mean()
    for what in ("accuracy", "loss"):
        both = (1 - share) * history[f"clean_{what}"] + share * history[f"corrupted_{what}"]
        np.testing.assert_allclose(both, history[f"train_{what}"], rtol=1e-5)
    assert (history["corrupted_accuracy"] + history["corrupted_as_true"] <= 1).all()


def test_a_resumed_fit_has_the_same_examples(tmp_path):
    split, path = noisy(), tmp_path / "c.pt"
    make = lambda: NetworkClassifier("mlp-1x64", epochs=6, batch_size=16, learning_rate=0.3, track_examples=True, checkpoint_every=0)  # noqa: E731
    whole = make().fit(split)
    for epoch in (2, 5):
        with pytest.raises(Stop):
            make().fit(split, checkpoint=path, on_epoch=stop_after(epoch))
    resumed = make().fit(split, checkpoint=path)
    assert whole.examples_ is not None
    pd.testing.assert_frame_equal(resumed.examples_, whole.examples_, check_exact=True)
    assert resumed.history_.drop(columns="seconds").equals(whole.history_.drop(columns="seconds"))
    with pytest.raises(InputError, match="belongs to other data or parameters"):
        make().set_params(track_examples=False).fit(split, checkpoint=path)


def test_checkpoints_from_before_there_was_tracking_go_on(tmp_path):
    """A parameter at its default is not in a checkpoint's key: interrupted runs of older versions are resumed."""
    NetworkClassifier(epochs=1, checkpoint_every=0).fit(make_split(), checkpoint=tmp_path / "c.pt")
    content = torch.load(tmp_path / "c.pt", weights_only=True)
    assert "track_examples" not in content["key"]
    assert set(content) == {"key", "model", "optimizer", "training", "world", "beside"}
    del content["beside"]  # which they lack, too
    torch.save(content, tmp_path / "c.pt")
    seen = []
    NetworkClassifier(epochs=1, checkpoint_every=0).fit(make_split(), checkpoint=tmp_path / "c.pt", on_epoch=seen.append)
    assert not seen, "there is nothing left to train"


def test_what_is_kept_does_not_grow_with_the_epochs():
    split = noisy()
    tracker = Tracker(split.labels, split.true_labels, split.ids, "cpu")
    sizes = []
    for _ in range(3):
        tracker.record(torch.arange(45), torch.randn(45, 4, generator=torch.Generator().manual_seed(0)))
        tracker.end_epoch()
        sizes.append(sum(v.numel() for v in tracker.state().values() if isinstance(v, torch.Tensor)))
    assert sizes == [6 * 45] * 3


def test_plain_arrays_have_no_changed_examples_and_keep_their_class_names():
    x, y = np.random.default_rng(0).normal(size=(30, 4)), np.array(["no", "yes"] * 15)
    net = NetworkClassifier(epochs=2, track_examples=True).fit(x, y)
    assert net.examples_ is not None
    assert net.examples_["id"].tolist() == list(range(30))
    assert net.examples_["label"].tolist() == net.examples_["true_label"].tolist() == y.tolist()
    assert set(net.examples_["final_prediction"]) <= {"no", "yes"}
    assert not net.examples_["changed"].any()
    assert net.history_[["corrupted_accuracy", "corrupted_as_true", "corrupted_loss"]].isna().all(axis=None)
    assert net.set_params(track_examples=False).fit(x, y).examples_ is None


def test_all_changed_and_diverging_are_results():
    split = noisy(share=1.0)
    net = NetworkClassifier("mlp-3x512", epochs=30, learning_rate=1e25, track_examples=True).fit(split)
    assert net.diverged_
    assert net.history_["clean_accuracy"].isna().all()
    assert net.examples_ is not None
    assert len(net.examples_) == 45
    with pytest.raises(InputError, match="track_examples is 'yes', expected true or false"):
        NetworkClassifier(track_examples="yes").fit(split)


def test_mean_loss_is_torchs(monkeypatch):
    split, seen = noisy(), presentations(monkeypatch)
    net = NetworkClassifier("mlp-1x64", epochs=1, batch_size=45, track_examples=True).fit(split)
    ((rows, logits),) = seen
    assert net.examples_ is not None
    np.testing.assert_array_equal(net.examples_["final_loss"][rows.numpy()], F.cross_entropy(logits, split.labels[rows], reduction="none"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_agrees_with_the_cpu():
    data = randomize(load_dataset("digits", n_train=256), Randomization(0.2, label_mode="flip"))
    cpu, gpu = (NetworkClassifier(epochs=2, track_examples=True, device=d).fit(data.train).examples_ for d in ("cpu", "cuda"))
    np.testing.assert_allclose(cpu["mean_loss"], gpu["mean_loss"], rtol=2e-2)
    assert resolve_device("cuda").type == "cuda"
