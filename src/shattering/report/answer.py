"""The answer of a report in words: cards, one sentence of conclusion, and what it does not show.

Each word has a threshold, named here and tested.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from shattering.report.tables import by_subject
from shattering.stats import accuracy_interval, percent

FITS = 0.99  # training accuracy from which labels count as fitted (the papers fit exactly)
PARTLY = 0.1  # random labels are partly memorized from this share of the way from the accuracy of a constant answer to 1
_MADE = {"redraw": "random", "flip": "wrong", "permute": "permuted"}  # label modes, in a word
_LISTED = 3  # models of which a card gives each number; of more it gives the least and the largest

Extent = Literal["all", "nearly all", "part", "hardly", "not judged"]
_LEARNS = {
    "yes": "learns from the {labels}",
    "barely": "learns from the {labels}, though it is no better than a constant answer",
    "no evidence": "shows no evidence of learning from the {labels}",
    "not judged": "was not judged on whether it learns",
}
_MEMORIZES: dict[str, str] = {
    "all": "can memorize all training examples",
    "nearly all": "can memorize nearly all training examples",
    "part": "can memorize part of the training examples",
    "hardly": "hardly memorizes random {labels}",
    "not judged": "was not judged on what it can memorize",
}


class Card(NamedTuple):
    """A card at the head of a report: what is asked, what is said in a word or two, and the numbers."""

    asked: str
    said: str
    text: str


def memorized(accuracy: float, constant: float) -> Extent:
    """Say how much of random labels is fitted.

    Args:
        accuracy: on the training examples, in 0…1; or R².
        constant: that of a constant answer, or of another one that memorizes nothing.

    Returns:
        "not judged" where the constant answer gives as good as all labels itself, so that only "all" would tell anything.

    Example:
        >>> memorized(1.0, 0.1), memorized(0.995, 0.1), memorized(0.5, 0.1), memorized(0.15, 0.1), memorized(1.0, 1.0)
        ('all', 'nearly all', 'part', 'hardly', 'not judged')
    """
    if constant == 1 or (constant >= FITS and accuracy < 1):
        return "not judged"
    if accuracy >= FITS:
        return "all" if accuracy == 1 else "nearly all"
    return "part" if (accuracy - constant) / (1 - constant) >= PARTLY else "hardly"


def conclude(verdicts: Mapping[str, tuple[str | None, str | None]], labels: str = "labels") -> str | None:
    """Return the conclusion of a report in one sentence; None if nothing was judged.

    Args:
        verdicts: model → whether it learns ("yes", "barely", "no evidence", "not judged"), and how much of random labels it memorizes
            (see `memorized`); None for what was not asked. The name "it" stands for the only model.
        labels: "labels", or "targets" of a regression.

    Example:
        >>> conclude({"it": ("yes", "hardly")})
        'It learns from the labels and hardly memorizes random labels, so its fit to the training data needs structure in them.'
    """
    alike: dict[str, list[str]] = {}
    for model, (learns, memorizes) in verdicts.items():
        said = [_LEARNS[learns]] if learns else []
        said += [_MEMORIZES[memorizes]] if memorizes else []
        if said:
            joint = ", and " if len(said) == 2 and learns == "barely" else " and "
            alike.setdefault(joint.join(said).format(labels=labels) + _so(learns, memorizes), []).append(model)
    parts = [f"{_each(models, len(verdicts))} {what}" for what, models in alike.items()]
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if parts and parts[0].startswith(("it ", "each ")) else f"{text}." if parts else None


def _so(learns: str | None, memorizes: str | None) -> str:
    """Return what follows from two verdicts."""
    if memorizes in ("all", "nearly all"):
        if learns == "yes":
            return ", so its capacity does not explain why it generalizes"
        return ", so its training accuracy says nothing about what it has learned"
    if memorizes == "part":
        return ", so part of its training accuracy may be memorization"
    return ", so its fit to the training data needs structure in them" if memorizes == "hardly" else ""


def _each(models: Sequence[str], of: int) -> str:
    """Return a subject in the singular."""
    if len(models) == of > 1:
        return "each model" if of > 2 else f"each of {_and(models)}"
    if len(models) > _LISTED:
        return f"each of {len(models)} models ({models[0]}, …)"
    return models[0] if len(models) == 1 else f"each of {_and(models)}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


class RunAnswer(NamedTuple):
    """The head of a report of runs: its cards, its conclusion (None if there is none), and what it does not show."""

    cards: list[Card]
    conclusion: str | None
    not_shown: list[str]


def answer_runs(rows: Iterable[dict]) -> RunAnswer:
    """Return the answer of stored runs in words.

    A model learns if the 95 % interval of its test accuracy lies above a constant answer; no labels are permuted here, so that there is no
    p-value.

    Args:
        rows: of `shattering.report.tables.summary_rows`; regressions are left out.
    """
    subjects = [_Subject(subject) for subject in by_subject([row for row in rows if row["seeds"] and row["score"] is None])]
    names = _names([subject.key for subject in subjects])
    named = dict(zip(names, subjects, strict=True))
    cards = [
        _card("Learns", {name: subject.learns for name, subject in named.items()}, "test accuracy"),
        _card("Memorizes", {name: subject.memorizes for name, subject in named.items()}, "training accuracy on random labels"),
        _noise_card(named),
    ]
    verdicts = {name: (_word(subject.learns), _word(subject.memorizes)) for name, subject in named.items()}
    parts = ["what a model learns (a leak or a shortcut in the data counts, too)"]
    if any(memorizes in ("all", "nearly all") for _, memorizes in verdicts.values()):
        parts.append("that it has memorized the original labels (it only could)")
    if any(row["seeds"] == 1 for subject in subjects for row in subject.rows):
        parts.append("how much the numbers depend on the seed, where there is only one")
    return RunAnswer([card for card in cards if card], conclude(verdicts), [*parts, "how it does on data from elsewhere"])


class _Judged(NamedTuple):
    """A verdict on one model, the number it is from, and that of a constant answer."""

    verdict: str
    value: float
    constant: float


class _Subject:
    """The runs of one configuration, and what they say."""

    def __init__(self, subject: dict):
        self.rows: list[dict] = subject["rows"]
        self.key = (
            subject["model"],
            f"on {subject['dataset']}, n = {subject['n_train']:,}",
            subject["hyperparameters"],
            subject["setting"],
        )
        plain = [row for row in self.rows if row["pixels"] == "true"]
        self.original = next((row for row in plain if row["labels"] == 0), None)
        self.by_noise = {(row["labels"], row["label_mode"]): row for row in plain if row["labels"]}

    @property
    def learns(self) -> _Judged | None:
        if (row := self.original) is None:
            return None
        low, _ = accuracy_interval([row["test_accuracy"]], row["n_test"])
        constant = _constant(row)
        return _Judged("yes" if low > constant else "no evidence", row["test_accuracy"], constant)

    @property
    def memorizes(self) -> _Judged | None:
        row = next((self.by_noise[1, mode] for mode in ("permute", "redraw", "flip") if (1, mode) in self.by_noise), None)
        if row is None:
            return None
        constant = _constant(row)
        return _Judged(memorized(row["train_accuracy"], constant), row["train_accuracy"], constant)

    @property
    def noise(self) -> tuple[float, str, float] | None:
        """The least corruption, how its labels are made in a word, and what it costs of the test accuracy."""
        partial = [noise for noise in self.by_noise if noise[0] < 1]
        if not partial or self.original is None:
            return None
        least = min(partial)
        return least[0], _MADE[least[1]], self.original["test_accuracy"] - self.by_noise[least]["test_accuracy"]


def _names(keys: Sequence[tuple[str, ...]]) -> list[str]:
    """Name subjects by model, and by as much of the rest as tells them apart."""
    if len(keys) == 1:
        return ["it"]
    for n in range(1, 5):
        names = [" ".join(filter(None, key[:n])) for key in keys]
        if len(set(names)) == len(names):
            return names
    return [f"{key[0]} ({i})" for i, key in enumerate(keys, start=1)]


def _constant(row: dict) -> float:
    """Return the accuracy of a constant answer."""
    return row["majority_share"] or row["chance"]


def _word(judged: _Judged | None) -> str | None:
    return judged.verdict if judged else None


def _card(asked: str, judged: Mapping[str, _Judged | None], what: str) -> Card | None:
    known = {name: one for name, one in judged.items() if one}
    if not known:
        return None
    words = [one.verdict for one in known.values()]
    said = ", ".join(f"{word}: {words.count(word)} of {len(words)}" for word in dict.fromkeys(words)) if len(set(words)) > 1 else words[0]
    constants = list(dict.fromkeys(percent(value) for value in sorted(one.constant for one in known.values())))
    constant = constants[0] if len(constants) == 1 else f"{constants[0]} to {constants[-1]}"
    return Card(asked, said, f"{_values({name: one.value for name, one in known.items()}, percent)} {what}; a constant answer {constant}")


def _noise_card(named: Mapping[str, _Subject]) -> Card | None:
    found = {name: noise for name, subject in named.items() if (noise := subject.noise)}
    if not found:
        return None
    shares = sorted({labels for labels, _, _ in found.values()})
    made = {word for _, word, _ in found.values()}
    costs = {name: cost for name, (_, _, cost) in found.items()}
    share = f"{shares[0]:.0%}" if len(shares) == 1 else f"{shares[0]:.0%} to {shares[-1]:.0%}"
    which = f"{share} {made.pop() if len(made) == 1 else 'corrupted'} labels"
    most = max(costs.values())
    if most <= 0:
        return Card("Label noise", f"{which} cost no test accuracy", "")
    up_to = "" if len(costs) == 1 else "up to "
    text = "" if len(costs) == 1 else f"{_values(costs, lambda cost: f'{100 * cost:.1f}')}"
    return Card("Label noise", f"{which} cost {up_to}{100 * most:.1f} points of test accuracy", text)


def _values(values: Mapping[str, float], show: Callable[[float], str]) -> str:
    """List a number per model; of many models the least and the largest."""
    if len(values) == 1:
        return show(next(iter(values.values())))
    if len(values) > _LISTED:
        return f"{show(min(values.values()))} to {show(max(values.values()))}"
    return ", ".join(f"{name} {show(value)}" for name, value in values.items())
