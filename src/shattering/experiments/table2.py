"""Table 2: Inception V3 on ImageNet, with and without explicit regularizers, on original and on random labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from shattering.errors import InputError
from shattering.experiments import reference
from shattering.experiments.experiment import Claim, Column, Outcome, Result, Runs, Table, answers, cut_short, judge, runs_of
from shattering.experiments.reference import TABLE_2, Table2Row
from shattering.experiments.scales import Scale
from shattering.randomization import Randomization
from shattering.runs.spec import RunSpec

TITLE = "Table 2: Inception V3 on ImageNet"
PLACE = ("ICLR appendix B, table 2", "full")
FITS = 0.87  # training accuracy from which the network fits its training set with regularizers; the paper's lowest is 87.81 %
FITS_PLAIN = 0.95  # the same without regularizers; the paper's is 95.20 %
LEARNED = 3  # how many times as good as guessing a model is that has learned
LOST = (0.10, 0.26)  # points of accuracy that regularizers are worth; the paper's are 18
ALEXNET_TOP5 = 0.836  # Krizhevsky et al. (2012), as the paper's table 2 has it
REGULARIZERS: dict[str, dict[str, Any]] = {  # as in the TensorFlow package that the paper refers to
    "augmentation": {"augment": ["resized-crop", "stretch", "flip", "brightness", "contrast", "saturation", "hue"]},
    "dropout": {"dropout": 0.2},
    "weight_decay": {"weight_decay": 4e-5},
}
_TOPS = [(split, top) for split in ("train", "test") for top in ("top-1", "top-5")]
COLUMNS = (
    Column("labels", "labels"),
    Column("regularizers", "regularizers", "prose"),
    *(Column(f"paper_{split}_{top}", f"paper {split} {top} %", "paper") for split, top in _TOPS),
    *(Column(f"{split}_{top}", f"our {split} {top} %", "percent") for split, top in _TOPS),
    Column("epochs", "epochs", "number"),
    Column("verdict", "verdict", "prose"),
)


def photographs(scale: Scale) -> str:
    """Return the dataset in the place of ImageNet. Raises InputError if a scale has none."""
    if scale.imagenet.dataset is None:
        raise InputError(f"scale {scale.name!r} has no photographs of its own, expected --data with an image folder or Parquet shards")
    return scale.imagenet.dataset


def regularizers(row: Table2Row) -> str:
    """Name the regularizers of a row, in words."""
    return ", ".join(name.replace("_", " ") for name in REGULARIZERS if getattr(row, name)) or "none"


def row_specs(scale: Scale, row: Table2Row) -> list[RunSpec]:
    """List the runs of a row, one per seed: several where figure 2a compares accuracies."""
    size = scale.imagenet
    params: dict[str, Any] = {"network": "inception-v3", "precision": "bfloat16", **size.params}
    for name, switched_on in REGULARIZERS.items():
        params |= switched_on if getattr(row, name) else {}
    spec = RunSpec(
        photographs(scale),
        n_test=size.n_test,
        randomization=Randomization(1.0 if row.random_labels else 0.0),
        params=params,
        image_size=size.image_size,
        hold_out=size.hold_out,
    )
    is_compared = not (row.random_labels or row.augmentation)
    return [replace(spec, seed=seed) for seed in range(size.compared_seeds if is_compared else 1)]


def specs(scale: Scale) -> list[RunSpec]:
    """List all runs, those with few regularizers first; among these, random labels come first."""
    rows = sorted(TABLE_2, key=lambda row: (_how_many(row), not row.random_labels))
    return [spec for row in rows for spec in row_specs(scale, row)]


def _how_many(row: Table2Row) -> int:
    return sum(getattr(row, name) for name in REGULARIZERS)


def result(scale: Scale, runs: Runs) -> Result:
    """Make the table and its claims from stored runs."""
    outcomes = {row: runs.outcome(row_specs(scale, row)) for row in TABLE_2}
    size = size_of(scale, runs)
    table = Table(
        f"Ours with {size}; theirs with n = {reference.N_IMAGENET:,} of ImageNet at 299x299",
        COLUMNS,
        [_row(scale, row, outcome) for row, outcome in outcomes.items()],
        "Training accuracies are those of the images without augmentation, in evaluation mode, against the labels that the network was "
        "trained on. The best test accuracies along the way are in figure 2a." + no_test(scale),
    )
    all_runs = runs_of(outcomes.values())
    return Result("table2", TITLE, scale.name, size, all_runs, [table], claims=_claims(scale, outcomes))


def size_of(scale: Scale, runs: Runs) -> str:
    """Say in words what was trained on."""
    side = scale.imagenet.image_size
    done = next((run.result for run in runs.seen.values() if run.result), None)
    what = f"n = {done['n_train']:,} of {done['dataset']}" if done else photographs(scale)
    return f"{what} at {side}x{side}"


def no_test(scale: Scale) -> str:
    """Return the note for a scale without test images; empty for other scales."""
    return "" if scale.imagenet.hold_out else " This scale has one image per class, and so nothing to test on."


def tested(scale: Scale, outcome: Outcome, name: str) -> float | None:
    """Return the mean of a value that was measured on test images; None at a scale without any."""
    return outcome.mean(name) if scale.imagenet.hold_out else None


def undecided(scale: Scale) -> str | None:
    """Say why a scale with one image per class decides no claim; None for other scales."""
    if scale.imagenet.hold_out:
        return None
    return "with one image per class, original labels are as arbitrary as random ones, and there is no test image"


def _verdict(scale: Scale, row: Table2Row, train: float | None, outcome: Outcome) -> str:
    if train is None:
        return "missing"
    if undecided(scale):
        return "not comparable: one image per class"
    fits = FITS if _how_many(row) else FITS_PLAIN
    short = cut_short(outcome.runs)
    if train < fits and short:
        return f"inconclusive: {short}"
    return answers((f"train ≥ {fits:.0%}", train >= fits)) + " (paper: yes)"


def _row(scale: Scale, row: Table2Row, outcome: Outcome) -> dict:
    train = outcome.mean("train_accuracy")
    return {
        "labels": "random" if row.random_labels else "original",
        "regularizers": regularizers(row),
        "paper_train_top-1": row.train_top1,
        "paper_train_top-5": row.train_top5,
        "paper_test_top-1": row.test_top1,
        "paper_test_top-5": row.test_top5,
        "train_top-1": train,
        "train_top-5": outcome.mean("train_top5_accuracy"),
        "test_top-1": tested(scale, outcome, "test_accuracy"),
        "test_top-5": tested(scale, outcome, "test_top5_accuracy"),
        "epochs": outcome.mean("epochs"),
        "verdict": _verdict(scale, row, train, outcome),
    }


def _claims(scale: Scale, outcomes: dict[Table2Row, Outcome]) -> list[Claim]:
    return [*_random_claims(scale, outcomes), *_original_claims(scale, outcomes), *_lost_claims(scale, outcomes)]


def _named(
    outcomes: dict[Table2Row, Outcome], rows: Sequence[Table2Row], value: Callable[[Outcome], float | None]
) -> dict[str, float | None]:
    return {f"{'random' if row.random_labels else 'original'} labels, {regularizers(row)}": value(outcomes[row]) for row in rows}


def _random_claims(scale: Scale, outcomes: dict[Table2Row, Outcome]) -> list[Claim]:
    def train(rows: Sequence[Table2Row]) -> dict[str, float | None]:
        return _named(outcomes, rows, lambda outcome: outcome.mean("train_accuracy"))

    def short(rows: Sequence[Table2Row], fits: float) -> list[str | None]:
        return [cut_short(outcomes[row].runs) for row in rows if (outcomes[row].mean("train_accuracy") or 0) < fits]

    random = [row for row in TABLE_2 if row.random_labels]
    plain, regularized = [row for row in random if not _how_many(row)], [row for row in random if _how_many(row)]
    return [
        judge(
            "it fits random labels",
            "Although it does not reach the perfect 100 % top-1 accuracy, 95.20 % is still very surprising for a million random labels.",
            f"without regularizers, training accuracy on random labels is at least {FITS_PLAIN:.0%}",
            train(plain),
            lambda v: min(v.values()) >= FITS_PLAIN,
            doubts=short(plain, FITS_PLAIN),
            unlike=undecided(scale),
        ),
        judge(
            "it fits them with explicit regularizers too",
            "The network also manages to reach about 90 % top-1 accuracy even with explicit regularizers turned on.",
            f"with weight decay, and with dropout beside it, training accuracy on random labels is at least {FITS:.0%}",
            train(regularized),
            lambda v: min(v.values()) >= FITS,
            doubts=short(regularized, FITS),
            unlike=undecided(scale),
        ),
    ]


def _original_claims(scale: Scale, outcomes: dict[Table2Row, Outcome]) -> list[Claim]:
    def test(rows: Sequence[Table2Row]) -> dict[str, float | None]:
        return _named(outcomes, rows, lambda outcome: tested(scale, outcome, "test_accuracy"))

    plain, augmented, everything = (_original_row(*on) for on in ((False, False), (True, False), (True, True)))
    decayed = _original_row(False, False, weight_decay=True)
    n_test = min((run.result["n_test"] for outcome in outcomes.values() for run in outcome.done), default=1)
    guessing = next((1 / run.result["n_classes"] for outcome in outcomes.values() for run in outcome.done), 0.0)
    alone = test([plain, decayed, augmented])
    return [
        judge(
            "augmentation is worth more than weight decay",
            "The ability to augment the data using known symmetries is significantly more powerful than just tuning weight decay: with "
            "data augmentation on but other explicit regularizers off, Inception achieves a top-1 accuracy of 72.95 %.",
            "augmentation alone adds more to test accuracy than weight decay alone does, and than nothing does, by more than two standard "
            "errors",
            alone,
            lambda v: _by_more_than_noise(v, n_test) > 0,
            doubts=["the difference is within two standard errors" if _by_more_than_noise(alone, n_test) == 0 else None],
            unlike=undecided(scale),
        ),
        judge(
            "it generalizes without any",
            "The top-1 accuracy without regularization is 59.80 %, while random guessing only achieves 0.1 %.",
            f"without regularizers, test accuracy on original labels is at least half of that with all of them, and {LEARNED} times that "
            "of guessing",
            test([plain, everything]),
            lambda v: min(v.values()) >= max(max(v.values()) / 2, LEARNED * guessing),
            unlike=undecided(scale),
        ),
    ]


def _lost_claims(scale: Scale, outcomes: dict[Table2Row, Outcome]) -> list[Claim]:
    plain, everything = _original_row(False, False), _original_row(True, True)
    low, high = LOST
    top1 = _named(outcomes, [plain, everything], lambda outcome: tested(scale, outcome, "test_accuracy"))
    names = list(top1)
    return [
        judge(
            "regularizers are worth 18 points",
            "An 18 % top-1 accuracy drop is observed when all the regularizers are turned off.",
            f"without regularizers, the top-1 test accuracy is lower by {100 * low:g} to {100 * high:g} points",
            top1,
            lambda v: low <= v[names[1]] - v[names[0]] <= high,
            unlike=undecided(scale) or not_imagenet(outcomes[plain]),
        ),
        judge(
            "near AlexNet without regularizers",
            "Inception achieves 80.38 % top-5 accuracy without regularization, while the winner of ILSVRC 2012 achieved 83.6 %.",
            f"without regularizers, the top-5 test accuracy is at least {100 * (ALEXNET_TOP5 - 0.05):.1f} %, 5 points below AlexNet's",
            _named(outcomes, [plain], lambda outcome: tested(scale, outcome, "test_top5_accuracy")),
            lambda v: min(v.values()) >= ALEXNET_TOP5 - 0.05,
            unlike=undecided(scale) or not_imagenet(outcomes[plain]),
        ),
    ]


def not_imagenet(outcome: Outcome) -> str | None:
    """Say that a run is not of ImageNet's size, so that the paper's accuracies are no measure for it; None if it is, or is missing."""
    n = outcome.done[0].result["n_train"] if outcome.done else reference.N_IMAGENET
    return None if n == reference.N_IMAGENET else f"n is {n:,}, and the paper's accuracies are for n = {reference.N_IMAGENET:,}"


def _original_row(augmentation: bool, others: bool, weight_decay: bool = False) -> Table2Row:
    wanted = (False, augmentation, others, others or weight_decay)
    return next(row for row in TABLE_2 if (row.random_labels, row.augmentation, row.dropout, row.weight_decay) == wanted)


def _by_more_than_noise(accuracies: Mapping[str, float | None], n_test: int) -> int:
    """Return 1 if the last accuracy is larger than all others by more than two standard errors, -1 if it is smaller than one, else 0."""
    *others, last = accuracies.values()
    if last is None:
        return 0
    apart = [(last - a, 2 * ((a * (1 - a) + last * (1 - last)) / n_test) ** 0.5) for a in others if a is not None]
    return -1 if any(gain < -noise for gain, noise in apart) else int(all(gain > noise for gain, noise in apart))
