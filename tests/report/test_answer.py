"""The head of a report in words."""

import pytest

from shattering.compare.answer import AnswerLine
from shattering.compare.page import _card
from shattering.report.answer import Card, answer_runs, conclude, memorized
from shattering.report.charts import to_spec
from shattering.report.scores import MOST_PANELS, run_scores
from shattering.report.tables import summary_rows, verdicts


def row(model="mlp", labels=0.0, train=1.0, test=0.9, pixels="true", **others):
    where = {"dataset": "digits", "model": model, "hyperparameters": "", "n_train": 1000, "setting": "", "subject": model}
    values = {"train_accuracy": train, "test_accuracy": test, "n_test": 500, "chance": 0.1, "majority_share": 0.1}
    return {**where, "pixels": pixels, "labels": labels, "label_mode": "redraw", "seeds": 1, "score": None, **values, **others}


def test_one_model_is_it():
    found = answer_runs([row(test=0.975), row(labels=0.25, test=0.835), row(labels=1.0, test=0.1)])
    assert found.cards == [
        Card("Learns", "yes", "97.5% test accuracy; a constant answer 10.0%"),
        Card("Memorizes", "all", "100.0% training accuracy on random labels; a constant answer 10.0%"),
        Card("Label noise", "25% random labels cost 14.0 points of test accuracy", ""),
    ]
    assert found.conclusion == (
        "It learns from the labels and can memorize all training examples, so its capacity does not explain why it generalizes."
    )
    assert "that it has memorized the original labels (it only could)" in found.not_shown


def test_models_that_differ_are_counted_and_named():
    found = answer_runs([row(), row(labels=1.0), row("tree", test=0.11), row("tree", labels=1.0, train=0.15)])
    assert [card.said for card in found.cards] == ["yes: 1 of 2, no evidence: 1 of 2", "all: 1 of 2, hardly: 1 of 2"]
    assert found.cards[0].text == "mlp 90.0%, tree 11.0% test accuracy; a constant answer 10.0%"
    assert found.conclusion == (
        "mlp learns from the labels and can memorize all training examples, so its capacity does not explain why it generalizes; "
        "tree shows no evidence of learning from the labels and hardly memorizes random labels, "
        "so its fit to the training data needs structure in them."
    )


def test_of_many_models_the_least_and_the_largest_number_are_given():
    found = answer_runs([row(f"m{i}", test=0.5 + i / 10) for i in range(4)])
    assert found.cards == [Card("Learns", "yes", "50.0% to 80.0% test accuracy; a constant answer 10.0%")]
    assert found.conclusion == "Each model learns from the labels."


def test_nothing_is_said_of_what_was_not_run():
    assert answer_runs([]).cards == []
    assert answer_runs([row(seeds=0)]).conclusion is None
    assert answer_runs([row(pixels="random")]).cards == []


@pytest.mark.parametrize("labels", ["labels", "targets"])
@pytest.mark.parametrize("learns", ["yes", "barely", "no evidence", "not judged", None])
@pytest.mark.parametrize("memorizes", ["all", "nearly all", "part", "hardly", None])
def test_every_conclusion_is_one_sentence(learns, memorizes, labels):
    said = conclude({"it": (learns, memorizes)}, labels)
    if learns is None and memorizes is None:
        assert said is None
        return
    assert said.startswith("It ")
    assert said.count(".") == 1
    assert "{" not in said
    assert ",." not in said
    assert ("capacity does not explain" in said) == (learns == "yes" and memorizes in ("all", "nearly all"))


def test_the_words_of_memorization_have_their_thresholds():
    assert [memorized(a, 0.1) for a in (1.0, 0.9999, 0.99, 0.9899, 0.2, 0.18)] == [
        *("all", "nearly all", "nearly all", "part", "part", "hardly")
    ]
    assert [memorized(a, c) for a, c in ((1.0, 0.995), (0.999, 0.995), (0.9, 1.0), (1.0, 1.0))] == ["all", *["not judged"] * 3]


def test_a_line_without_a_verdict_says_its_first_number():
    assert _card(AnswerLine("Label noise", "", "20% cost 1 point; 3% of them")) == Card("Label noise", "20% cost 1 point", "3% of them")


def test_the_chart_of_runs_has_a_panel_per_configuration_with_every_run(store):
    rows = summary_rows(store.runs())
    spec = to_spec(run_scores(store.runs()))
    points = [row for data in spec["datasets"].values() for row in data if "split" in row]
    assert len(points) == 2 * sum(row["runs"] for row in rows) == 18
    assert "chance" in {row.get("name") for data in spec["datasets"].values() for row in data}
    assert "vconcat" not in spec
    assert MOST_PANELS > 1


def test_label_modes_are_told_apart():
    noise = [row(labels=1.0, label_mode=mode, train=train) for mode, train in (("permute", 1.0), ("redraw", 0.2))]
    wrong = [row(labels=0.2, label_mode=mode, test=test) for mode, test in (("flip", 0.8), ("redraw", 0.85))]
    cards = answer_runs([row(), *noise, *wrong]).cards
    assert cards[1].said == "all"
    assert cards[2].said == "20% wrong labels cost 10.0 points of test accuracy"
    said = verdicts([one | {"runs": 1, "fitted": int(one["train_accuracy"] == 1)} for one in (row(), *noise)])
    assert [sentence.split(" on 1,000")[0] for sentence in said] == [
        "mlp fits permuted labels",
        "mlp does not fit all random labels (20.0% of them)",
    ]


def test_constant_answers_are_in_the_order_of_their_numbers():
    models = [row(f"m{i}", majority_share=share) for i, share in enumerate((0.5, 0.05, 0.1))]
    assert "a constant answer 5.0% to 50.0%" in answer_runs(models).cards[0].text
