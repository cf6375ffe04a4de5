import math
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from shattering import InputError, NetworkClassifier, Randomization, load_dataset, randomize
from shattering.measures.memorization import (
    DIFFICULTIES,
    average_precision,
    label_error_ranking,
    memorization_start,
    peak,
    precision_at_k,
    precision_curve,
)

EXAMPLES = pd.DataFrame(
    {
        "id": [10, 11, 12, 13, 14],
        "changed": [False, True, False, True, False],
        "epochs_to_fit": pd.array([1, None, 2, 7, 2], dtype="Int64"),
        "first_fit": pd.array([1, None, 2, 4, 1], dtype="Int64"),
        "forgetting_events": [0, 0, 0, 3, 1],
        "mean_loss": [0.1, 2.5, 0.4, 1.0, 1.2],
        "final_loss": [0.0, 1.5, 0.01, 0.02, 0.03],
    }
)


@pytest.mark.parametrize(
    ("by", "ids"),
    [
        ("mean_loss", [11, 14, 13, 12, 10]),
        ("final_loss", [11, 14, 13, 12, 10]),
        ("epochs_to_fit", [11, 13, 12, 14, 10]),  # not fitted: first; equal: by id
        ("forgetting_events", [11, 13, 14, 10, 12]),  # never learned: first
    ],
)
def test_ranking(by, ids):
    ranking = label_error_ranking(EXAMPLES, by)
    assert ranking["id"].tolist() == ids
    assert (ranking["label_quality"].diff()[1:].fillna(0) >= 0).all()
    assert ranking.drop(columns="label_quality").sort_values("id", ignore_index=True).equals(EXAMPLES)
    shuffled = label_error_ranking(EXAMPLES.sample(frac=1, random_state=3), by)
    pd.testing.assert_frame_equal(shuffled, ranking)


def test_bad_rankings():
    with pytest.raises(InputError, match=r"unknown ranking 'loss'; did you mean 'mean_loss'\?"):
        label_error_ranking(EXAMPLES, "loss")
    with pytest.raises(InputError, match=r"unknown ranking \['mean_loss'\]"):
        label_error_ranking(EXAMPLES, ["mean_loss"])
    with pytest.raises(InputError, match="mean_loss is NaN for 1 of 5 examples, expected those of a training that converged"):
        label_error_ranking(EXAMPLES.assign(mean_loss=[0.1, math.nan, 0.4, 1.0, 1.2]))
    infinite = EXAMPLES.assign(mean_loss=[0.1, 2.5, math.inf, 1.0, 1.2])
    assert label_error_ranking(infinite)["id"].tolist() == [12, 11, 14, 13, 10]
    assert 0 < average_precision(label_error_ranking(infinite)) < 1


def test_precision_by_hand():
    ranking = label_error_ranking(EXAMPLES)
    assert ranking["changed"].tolist() == [True, False, True, False, False]
    curve = precision_curve(ranking)
    assert curve["k"].tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(curve["precision"], [1, 1 / 2, 2 / 3, 2 / 4, 2 / 5])
    np.testing.assert_allclose(curve["recall"], [1 / 2, 1 / 2, 1, 1, 1])
    assert precision_at_k(ranking, 3) == pytest.approx(2 / 3)
    assert average_precision(ranking) == pytest.approx((1 + 2 / 3) / 2)
    for k in (0, 6, -1):
        with pytest.raises(InputError, match=f"k is {k}, expected 1…5"):
            precision_at_k(ranking, k)


def test_rows_in_another_order_and_values_that_say_nothing_are_refused():
    ranking = label_error_ranking(EXAMPLES)
    with pytest.raises(InputError, match="ranking is not in the order of label_quality, expected the lowest first"):
        precision_at_k(ranking.sort_values("id"), 2)
    assert average_precision(ranking.sort_values("id")) == average_precision(ranking)
    for value in (None, "True", float("nan")):
        strange = ranking.assign(changed=[value, True, False, False, True])
        for function in (precision_curve, average_precision, lambda of: precision_at_k(of, 2)):
            with pytest.raises(InputError, match="in its column changed, expected True for a corrupted label, else False"):
                function(strange)
    with pytest.raises(InputError, match="ranking has 1 NaN in its column label_quality, expected numbers"):
        precision_curve(ranking.assign(label_quality=[-2.0, float("nan"), -1.0, 0.0, 0.0]))


def test_without_corrupted_labels_there_is_none_to_find():
    ranking = label_error_ranking(EXAMPLES.assign(changed=False))
    with pytest.raises(InputError, match="ranking has no corrupted label"):
        precision_at_k(ranking, 2)
    assert math.isnan(average_precision(ranking))


def test_an_untracked_network_has_no_examples():
    net = NetworkClassifier("mlp-1x4", epochs=1).fit(load_dataset("digits", n_train=30).train)
    with pytest.raises(InputError, match="examples is None, expected a table with one row per example: train with track_examples=True"):
        label_error_ranking(net.examples_)
    with pytest.raises(InputError, match="examples has no column final_loss, expected those of a training with track_examples=True"):
        label_error_ranking(EXAMPLES.drop(columns="final_loss"), "final_loss")
    with pytest.raises(InputError, match="ranking has no column label_quality"):
        precision_at_k(EXAMPLES, 2)


@pytest.mark.parametrize("seed", range(5))
def test_ties_count_by_expectation_over_their_orders(seed):
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame({"label_quality": generator.integers(0, 3, 6).astype(float), "changed": generator.random(6) < 0.5})
    frame = frame.sort_values("label_quality", ignore_index=True)
    orders = [list(p) for p in permutations(range(6)) if (frame["label_quality"].iloc[list(p)].diff()[1:].fillna(0) >= 0).all()]
    hits = np.mean([frame["changed"].to_numpy()[order].cumsum() for order in orders], axis=0)
    np.testing.assert_allclose(precision_curve(frame)["precision"], hits / np.arange(1, 7))
    if frame["changed"].any():
        assert average_precision(frame) == pytest.approx(average_precision_score(frame["changed"], -frame["label_quality"]))


@pytest.mark.parametrize("changed", [False, True])
def test_none_and_all_changed(changed):
    ranking = label_error_ranking(EXAMPLES.assign(changed=changed))
    curve = precision_curve(ranking)
    assert (curve["precision"] == float(changed)).all()
    if changed:
        assert (average_precision(ranking), curve["recall"].iloc[-1]) == (1, 1)
    else:
        assert math.isnan(average_precision(ranking))
        assert curve["recall"].isna().all()


def history(wrong, true):
    return pd.DataFrame(
        {
            "epoch": range(1, len(wrong) + 1),
            "clean_accuracy": np.linspace(0.2, 1, len(wrong)),
            "corrupted_accuracy": wrong,
            "corrupted_as_true": true,
        }
    )


@pytest.mark.parametrize(
    ("wrong", "true", "start", "best"),
    [
        ([0.1, 0.1, 0.3, 0.9], [0.2, 0.6, 0.5, 0.1], 4, 2),
        ([0.2, 0.1, 0.6, 0.9], [0.1, 0.6, 0.6, 0.1], 4, 2),  # ahead by chance in the first epoch; equal is not more
        ([0.3, 0.4, 0.5, 0.9], [0.1, 0.1, 0.2, 0.1], 1, 3),  # from the first epoch
        ([0.1, 0.1, 0.6, 0.2], [0.2, 0.6, 0.5, 0.5], None, 2),  # not so at the end
        ([math.nan] * 3, [math.nan] * 3, None, None),  # none changed
    ],
)
def test_start_and_peak(wrong, true, start, best):
    frame = history(wrong, true)
    found, top = memorization_start(frame), peak(frame)
    assert (found and found.epoch, top and top.epoch) == (start, best)
    if found:
        assert found.corrupted_accuracy == wrong[start - 1]
        assert found.clean_accuracy == frame["clean_accuracy"][start - 1]
    if top:
        assert top.corrupted_as_true == true[best - 1] == max(true)


def test_start_needs_tracking():
    for measure in (memorization_start, peak):
        with pytest.raises(InputError, match="history has no column corrupted_as_true, expected that of a training with track_examples"):
            measure(pd.DataFrame({"epoch": [1]}))
        with pytest.raises(InputError, match="history has no column corrupted_accuracy"):
            measure(history([0.1], [0.2]).drop(columns="corrupted_accuracy"))
    assert memorization_start(history([], [])) is None
    assert peak(history([], [])) is None


@pytest.mark.parametrize("seed", range(2))
def test_planted_noise_is_found_and_memorized_last(seed):
    data = randomize(load_dataset("digits", n_train=500, seed=seed), Randomization(0.1, label_mode="flip"), seed)
    net = NetworkClassifier(epochs=40, batch_size=32, learning_rate=0.05, track_examples=True, random_state=seed).fit(data.train)
    examples, planted = net.examples_, int((data.train.labels != data.train.true_labels).sum())
    assert examples is not None
    ranking = label_error_ranking(examples)
    assert precision_at_k(ranking, planted // 2) > 0.9
    assert precision_at_k(ranking, planted) > 0.85
    assert average_precision(ranking) > 0.9
    rank = dict(zip(ranking["id"], ranking.index, strict=True))
    wrong = data.train.ids[data.train.labels != data.train.true_labels].tolist()
    assert np.median([rank[i] for i in wrong]) < planted  # by their ids, not their rows
    fitted = examples["epochs_to_fit"].astype(float).fillna(np.inf).groupby(examples["changed"]).median()
    assert fitted[False] < fitted[True]
    start, best = memorization_start(net.history_), peak(net.history_)
    assert start is not None
    assert best is not None
    assert best.epoch < start.epoch
    assert best.corrupted_as_true > 0.7
    assert start.clean_accuracy > 0.9
    for by in DIFFICULTIES:
        assert average_precision(label_error_ranking(examples, by)) > planted / 500
