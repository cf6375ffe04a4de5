import pytest
import torch

from shattering import NetworkClassifier, RunSpec, Store, run
from shattering.data.dataset import Dataset
from shattering.identity.names import name_of
from shattering.learners.scores import top5_accuracy
from tests.conftest import make_split


def slow_top5(scores, labels):
    hits = 0
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        hits += label in sorted(range(len(row)), key=lambda k: -row[k])[:5]
    return hits / len(labels)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [6, 10, 300])
def test_top5_is_the_slow_versions(seed, k):
    generator = torch.Generator().manual_seed(seed)
    scores, labels = torch.randn(200, k, generator=generator), torch.randint(k, (200,), generator=generator)
    assert top5_accuracy(scores, labels) == {"top5_accuracy": slow_top5(scores, labels)}


def test_it_is_about_5_of_k_by_chance_and_at_least_top1():
    generator = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(5000, 50, generator=generator), torch.randint(50, (5000,), generator=generator)
    top5 = top5_accuracy(scores, labels)["top5_accuracy"]
    assert top5 == pytest.approx(0.1, abs=0.015)
    assert top5 >= (scores.argmax(1) == labels).double().mean()


@pytest.mark.parametrize("k", [2, 4, 5])
def test_with_five_classes_or_fewer_there_is_none(k):
    assert top5_accuracy(torch.zeros(3, k), torch.zeros(3, dtype=torch.int64)) == {}


def test_the_history_and_the_result_of_a_run_have_it(tmp_path):
    spec = RunSpec("digits", n_train=100, n_test=60, n_validation=30, params={"epochs": 3, "device": "cpu", "learning_rate": 0.001}, seed=2)
    done = run(spec, Store(tmp_path))
    model, history, result = done.model(), done.history, done.result
    from shattering.runs.fit import load_data

    data, _ = load_data(spec)
    for name, split in (("train", data.train), ("test", data.test)):
        assert result[f"{name}_top5_accuracy"] == slow_top5(model.logits(split), split.labels)
        assert result[f"{name}_accuracy"] < result[f"{name}_top5_accuracy"] <= 1
    assert history["test_top5_accuracy"].iloc[-1] == result["test_top5_accuracy"]
    assert history["validation_top5_accuracy"].iloc[-1] == slow_top5(model.logits(data.validation), data.validation.labels)
    assert result["best_test_top5_accuracy"] == history["test_top5_accuracy"].max()
    assert len(set(history["test_top5_accuracy"])) > 1, "this test can tell epochs apart"


def test_models_without_scores_and_few_classes_have_none(tmp_path):
    forest = run(RunSpec("digits", n_train=100, n_test=50, model="nearest-neighbors"), Store(tmp_path)).result
    assert not [name for name in forest if "top5" in name]
    few = Dataset(make_split(), make_split(n=16, seed=1))
    name = name_of("few", "0")
    done = run(RunSpec(name, params={"epochs": 1, "device": "cpu"}), Store(tmp_path), objects={name: few})
    assert not [key for key in [*done.result, *done.history] if "top5" in key]


def test_predictions_are_those_of_predict(tmp_path):
    spec = RunSpec("digits", n_train=100, n_test=50, params={"epochs": 2, "device": "cpu"})
    done = run(spec, Store(tmp_path))
    from shattering.runs.fit import load_data

    data, _ = load_data(spec)
    assert done.result["test_accuracy"] == (done.model().predict(data.test) == data.test.labels.numpy()).mean()
    assert isinstance(done.model(), NetworkClassifier)
