"""Every verdict of the answer has a threshold; each is tried on both sides. Printed, the answer fits 80 columns."""

from dataclasses import asdict

import pytest

from shattering.compare.answer import WIDTH, AnswerLine, printed
from shattering.compare.plan import LABEL_TEST, RANDOMIZATIONS
from shattering.compare.zero_refit import ZeroRefitTest
from tests.compare.fakes import fake_repeat, fake_test
from tests.compare.test_sentences import labels


def answers(*repeats, **kwargs):
    return {line.name: line for line in fake_test(*repeats, **kwargs).answer}


def of_one_fit(n_as_good, admissible=1e30):
    return ZeroRefitTest(0.9, 0.1, 0.02, 9999, n_as_good, "free", admissible, 500)


@pytest.mark.parametrize(
    ("nulls", "given", "verdict", "said"),
    [
        ([0.1] * 19, {}, "yes", "(p = 0.05)"),
        ([0.1] * 18, {}, "not judged", "(p = 0.0526)"),
        ([0.1] * 18 + [0.9], {}, "no evidence", "(p = 0.1)"),
        ([0.1] * 19, {"best_constant": 0.9}, "barely", "10.0 ± 0.0% (p = 0.05)"),
        ([0.1] * 19, {"best_constant": 0.899}, "yes", "10.0 ± 0.0% (p = 0.05)"),
        ([0.1] * 3, {"zero_refit": of_one_fit(499)}, "yes", "10.0 ± 2.0% (p = 0.05)"),
        ([0.1] * 3, {"zero_refit": of_one_fit(500)}, "no evidence", "(p = 0.0501)"),
        ([0.1] * 18 + [0.9], {"zero_refit": of_one_fit(0)}, "yes", "(p = 0.0001; by refits p = 0.1)"),
        ([0.1] * 19, {"zero_refit": of_one_fit(0, admissible=6)}, "yes", "(p = 0.05)"),
        ([], {"zero_refit": of_one_fit(0, admissible=6)}, "not judged", "(p = 0.167)"),
        ([], {}, "not judged", "90.0% test accuracy"),
    ],
)
def test_learning(nulls, given, verdict, said):
    line = answers(fake_repeat(test=0.9), *labels(nulls), **given)["Learns"]
    assert line.verdict == verdict
    assert line.text.endswith(said)


@pytest.mark.parametrize(
    ("accuracy", "verdict"), [(1.0, "all"), (0.9901, "nearly all"), (0.9899, "part"), (0.191, "part"), (0.189, "hardly")]
)
def test_memorizing(accuracy, verdict):
    lines = answers(fake_repeat(), *labels([0.1] * 19, train=accuracy))
    assert lines["Memorizes"].verdict == verdict
    assert "training accuracy on permuted labels" in lines["Memorizes"].text
    assert "Memorizes" not in answers(fake_repeat())


@pytest.mark.parametrize(("test", "cost"), [(0.78, "cost 8.8 points of test accuracy"), (0.868, "cost no test accuracy"), (0.9, "cost no")])
def test_label_noise(test, cost):
    noise = RANDOMIZATIONS["corrupted-labels"]
    counted = {"changed_fraction": 0.2, "train_accuracy_on_changed": 0.5, "train_accuracy_on_unchanged": 1.0, "changed_as_true": 0.4}
    line = answers(fake_repeat(test=0.868), fake_repeat(noise, test=test, **counted))["Label noise"]
    assert (line.verdict, line.text.startswith(f"20% wrong labels {cost}")) == ("", True)
    assert line.text.endswith("50.0% of them are reproduced")


def test_what_is_not_shown_and_what_is_printed():
    able = fake_test(fake_repeat(), *labels([0.1] * 19, train=1.0))
    assert "it only could" in able.not_shown[1]
    assert len(fake_test(fake_repeat(), *labels([0.1] * 19, train=0.5)).not_shown) == 2
    lines = printed(able.answer, able.not_shown)
    assert max(map(len, lines)) <= WIDTH
    assert [line.split()[:2] for line in lines if line[2:6] == "Lear"] == [["Learns", "yes"]]
    assert str(able).splitlines()[1 : 1 + len(lines)] == lines
    assert able.to_json()["answer"] == [asdict(line) for line in able.answer]
    assert AnswerLine(**able.to_json()["answer"][0]) == able.answer[0]
    assert len(repr(able)) <= 200
    assert LABEL_TEST in able.randomizations
