"""Table 4: do regularizers prevent a network from fitting random labels?"""

from typing import Any

from shattering.experiments import reference
from shattering.experiments.experiment import FITS, Claim, Column, Outcome, Result, Runs, Table, answers, cut_short, judge, runs_of
from shattering.experiments.reference import MODEL_NAMES, TABLE_4, Table4Row
from shattering.experiments.scales import WEIGHT_DECAY, Scale
from shattering.runs.spec import RunSpec

TITLE = "Table 4: fitting random labels with regularizers"
PLACE = ("ICLR appendix E, table 4", "full")
ALEXNET_WEIGHT_DECAYS = (0.0, 5e-5, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2)
_SLOW_DECAY = 0.999  # decay of the learning rate with augmentation (appendix E)
_REGULARIZERS: dict[str, dict[str, Any]] = {
    "weight decay": {"weight_decay": WEIGHT_DECAY},
    "random cropping": {"augment": "crop", "decay": _SLOW_DECAY},
    "augmentation": {"augment": ["flip", "rotation"], "decay": _SLOW_DECAY},  # the paper's footnote 6
}
COLUMNS = (
    Column("model", "model"),
    Column("regularizer", "regularizer"),
    Column("paper_train", "paper train %", "paper"),
    Column("train", "our train %", "percent"),
    Column("clean", "without augmentation, %", "percent"),
    Column("seeds", "seeds"),
    Column("epochs", "epochs", "number"),
    Column("verdict", "verdict", "prose"),
)
ALEXNET_COLUMNS = (
    Column("weight_decay", "weight decay coefficient"),
    Column("train", "train %", "percent"),
    Column("loss", "training loss (nats)", "number"),
    Column("seeds", "seeds"),
    Column("epochs", "epochs", "number"),
    Column("verdict", "verdict", "prose"),
)


def row_specs(scale: Scale, row: Table4Row) -> list[RunSpec]:
    """List the runs of a row, one per seed."""
    params = dict(_REGULARIZERS[row.regularizer])
    if row.online:
        params["epochs"] = scale.cifar.long_epochs
    return scale.cifar.specs(row.network, labels=1.0, **params)


def alexnet_specs(scale: Scale, weight_decay: float) -> list[RunSpec]:
    """List the runs of AlexNet on random labels with a coefficient of weight decay."""
    params: dict[str, Any] = {"weight_decay": weight_decay} if weight_decay else {}
    return scale.cifar.specs("alexnet", labels=1.0, **params)


def specs(scale: Scale) -> list[RunSpec]:
    """List all runs of the table, the long ones last."""
    rows = sorted(TABLE_4, key=lambda row: row.online)
    table = [spec for row in rows for spec in row_specs(scale, row)]
    alexnet = [spec for c in ALEXNET_WEIGHT_DECAYS for spec in alexnet_specs(scale, c)]
    return [*(s for s in table if "augment" not in s.params), *alexnet, *(s for s in table if "augment" in s.params)]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the tables and the claims from stored runs."""
    outcomes = {row: runs.outcome(row_specs(scale, row)) for row in TABLE_4}
    sweep = {c: runs.outcome(alexnet_specs(scale, c)) for c in ALEXNET_WEIGHT_DECAYS}
    main = Table(
        f"Random labels; ours with {runs.size}; theirs with n = {reference.N_TRAIN:,} of CIFAR-10",
        COLUMNS,
        [_row(row, outcome) for row, outcome in outcomes.items()],
        "With cropping or augmentation our train accuracy is the online accuracy of the last epoch, on augmented images, as in the paper; "
        "the column beside it is the accuracy on the images without augmentation, in evaluation mode. For other rows both are the latter.",
    )
    alexnet = Table(
        f"AlexNet on random labels, by coefficient of weight decay, {runs.size}",
        ALEXNET_COLUMNS,
        [_alexnet_row(c, outcome) for c, outcome in sweep.items()],
        f"The paper does not give its coefficient; the table above uses {WEIGHT_DECAY:g}. Chance is a loss of ln 10 = 2.303.",
    )
    all_runs = runs_of([*outcomes.values(), *sweep.values()])
    return Result("table4", TITLE, scale.name, runs.size, all_runs, [main, alexnet], claims=_claims(outcomes, sweep, _unlike(scale)))


def _train(row: Table4Row, outcome: Outcome) -> float | None:
    return outcome.mean("online_train_accuracy" if row.online else "train_accuracy")


def _unlike(scale: Scale) -> str | None:
    """Say why the paper's coefficient of weight decay is not for a scale with fewer images, and so fewer updates; None for others."""
    n = scale.cifar.n_train
    return None if n is None else f"n is {n:,}, and the paper's coefficient is for n = {reference.N_TRAIN:,}"


def _row(row: Table4Row, outcome: Outcome) -> dict:
    train = _train(row, outcome)
    return {
        "model": MODEL_NAMES[row.network],
        "regularizer": row.regularizer,
        "paper_train": "failed to converge" if row.train is None else row.train,
        "train": train,
        "clean": outcome.mean("train_accuracy"),
        "seeds": outcome.seeds,
        "epochs": outcome.mean("epochs"),
        "verdict": _verdict(train, outcome, f" (paper: {_theirs(row)})", row.online),
    }


def _verdict(train: float | None, outcome: Outcome, theirs: str = "", online: bool = False) -> str:
    if train is None:
        return "missing"
    short = cut_short(outcome.runs, online)
    return f"inconclusive: {short}" if train < FITS and short else answers((f"train ≥ {FITS:.0%}", train >= FITS)) + theirs


def _theirs(row: Table4Row) -> str:
    return "yes" if row.train is not None and row.train >= 100 * FITS else "no"


def _alexnet_row(weight_decay: float, outcome: Outcome) -> dict:
    train = outcome.mean("train_accuracy")
    return {
        "weight_decay": f"{weight_decay:g}",
        "train": train,
        "loss": outcome.mean_of(lambda run: float(run.history["train_loss"].iloc[-1])),
        "seeds": outcome.seeds,
        "epochs": outcome.mean("epochs"),
        "verdict": _verdict(train, outcome),
    }


def _claims(outcomes: dict[Table4Row, Outcome], sweep: dict[float, Outcome], unlike: str | None) -> list[Claim]:
    fitted = {f"{MODEL_NAMES[row.network]}, {row.regularizer}": _train(row, o) for row, o in outcomes.items() if row.train is not None}
    decayed = {name: value for name, value in fitted.items() if name.endswith(", weight decay")}
    plain, default = "AlexNet, no regularizer", "AlexNet, weight decay"
    alexnet = {name: sweep[c].mean("train_accuracy") for name, c in ((plain, 0.0), (default, WEIGHT_DECAY))}
    shorts = {row: cut_short(o.runs, row.online) for row, o in outcomes.items() if (_train(row, o) or 0) < FITS}
    fits = (alexnet[default] or 0) >= FITS
    unknown = f"AlexNet fits with {WEIGHT_DECAY:g}, and the paper, where it does not, gives no coefficient"
    return [
        judge(
            "regularizers do not prevent fitting",
            "With explicit regularizers, all models but AlexNet still fit random labels.",
            f"every row that the paper's model fits reaches at least {FITS:.0%} train accuracy",
            fitted,
            lambda v: all(value >= FITS for value in v.values()),
            doubts=[short for row, short in shorts.items() if row.train is not None],
            runs=runs_of(o for row, o in outcomes.items() if row.train is not None),
        ),
        judge(
            "AlexNet alone fails with weight decay",
            "AlexNet with weight decay fails to converge on random labels, the other models fit them.",
            f"with the same coefficient, the others reach {FITS:.0%} train accuracy and AlexNet does not, which it does without",
            alexnet if fits else {**alexnet, **decayed},  # if AlexNet fits, what others do decides nothing
            lambda v: v[default] < FITS <= min(value for name, value in v.items() if name != default),
            doubts=[
                unknown if fits else None,
                cut_short(sweep[0.0].runs),
                *(short for row, short in shorts.items() if row.regularizer == "weight decay"),
            ],
            unlike=unlike,
            runs=runs_of([sweep[0.0], *(o for row, o in outcomes.items() if row.regularizer == "weight decay")]),
        ),
    ]
