"""Control measures: what they must come out as is known, so that a test that judges them otherwise is not to be trusted.

Most are functions of the table of runs, which cost nothing. Two are functions of the data alone, computed as any other measure is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from shattering import seeds
from shattering.interrogate.verdicts import READS, SAME, Judgement, Thresholds, follows, tells

N_RANDOM = 20
NOISE = (0.02, 0.05)  # standard deviations that are added to the oracle
_WORSE = {"batch_size": 1, "depth": -1, "width": -1, "learning_rate": -1, "weight_decay": -1, "dropout": -1, "n": -1}


def nearest_neighbor_mismatch(fitted: Any) -> float:
    """Return the share of training examples whose nearest neighbour among the others has another label. The network is not looked at.

    Args:
        fitted: whose training examples are used, as the network takes them, with the labels trained on; distances are Euclidean.

    Returns:
        A share in 0…1.
    """
    x, labels = _rows(fitted), fitted.labels.cpu()
    distance = torch.cdist(x, x)
    distance.fill_diagonal_(float("inf"))
    return float((labels[distance.argmin(1)] != labels).double().mean())


def data_label_complexity(fitted: Any) -> float:
    """Return √(2 tr Yᵀ H⁻¹ Y / n) with H that of an infinitely wide ReLU layer: a function of the data alone.

    Arora, Du, Hu, Li and Wang (ICML 2019, theorem 5.1): H_ij = xᵢᵀxⱼ (π − arccos(xᵢᵀxⱼ))/2π for x of norm 1, here plus 10⁻⁶ of its mean
    diagonal; Y are the centred one-hot labels.

    Args:
        fitted: whose training examples are used, as the network takes them, with the labels trained on.

    Returns:
        A number of at least 0.
    """
    x = torch.nn.functional.normalize(_rows(fitted))
    inner = (x @ x.T).clamp(-1, 1)
    kernel = inner * (torch.pi - torch.acos(inner)) / (2 * torch.pi)
    kernel.diagonal().add_(1e-6 * float(kernel.diagonal().mean()))
    targets = torch.nn.functional.one_hot(fitted.labels.cpu(), fitted.n_classes).double()
    targets -= targets.mean(0)
    return float((2 * (targets * torch.linalg.solve(kernel, targets)).sum() / len(x)).sqrt())


DATA_CONTROLS: dict[str, Callable[[Any], float]] = {
    "nearest_neighbor_mismatch": nearest_neighbor_mismatch,
    "data_label_complexity": data_label_complexity,
}


def _rows(fitted: Any) -> torch.Tensor:
    """Return the training examples (n, values) as the network takes them, in float64."""
    return torch.cat([inputs.flatten(1).double().cpu() for inputs, _ in fitted.blocks()])


def control_columns(table: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """Compute the controls that are functions of the table of runs: one column per control, in the order of the table."""
    error = 1 - table["test_accuracy"]
    layers, n_parameters = table["layers"].astype(float), table["parameters"].astype(float)
    columns: dict[str, Any] = {"test_error": error}
    for sd in NOISE:
        columns[f"test_error_noise_{sd:g}"] = error + sd * _draws(table, f"noise/{sd:g}", normal=True)
    columns |= {f"random_number_{k:02d}": _draws(table, f"number/{k}", normal=False) for k in range(N_RANDOM)}
    columns |= {
        "constant": np.ones(len(table)),
        "control_n_parameters": n_parameters,
        "control_vc_dimension": n_parameters * layers * np.log2(n_parameters),
        "training_error": 1 - table["train_accuracy"],
        "training_loss": table["loss"],
        "log_steps": np.log(table["updates"].clip(lower=1)),
        "usual_order": _usual_order(table, axes),
    }
    return pd.DataFrame(columns, index=table.index)


def _draws(table: pd.DataFrame, purpose: str, normal: bool) -> np.ndarray:
    """Return a random number per run, which depends on the run's id alone."""
    generators = (seeds.generator(int(run, 16) if run.isalnum() else hash(run), f"interrogate/control/{purpose}") for run in table["run"])
    return np.array([g.standard_normal() if normal else g.random() for g in generators])


def _usual_order(table: pd.DataFrame, axes: Sequence[str]) -> np.ndarray:
    """Return the ranks of the hyperparameters, added up, each with its sign in `_WORSE`: a larger sum is usually thought to be worse.

    A hyperparameter that `_WORSE` lacks, such as the family, counts upwards in sorted order. Jiang et al. (2020) call the like
    "canonical ordering"; a measure has to rank better than this. All runs of a cell have that of its natural runs, those on fewer examples
    too.
    """
    total = np.zeros(len(table))
    natural = table.loc[table["condition"] == "natural"].groupby("cell").first()
    for axis in axes:
        codes, values = pd.factorize(table["cell"].map(natural[axis].to_dict()).fillna(table[axis]), sort=True)
        total += _WORSE.get(axis, 1) * codes / max(1, len(values) - 1)
    return total


@dataclass(frozen=True)
class Control:
    """A control: a measure whose outcome is known beforehand, with what came of it.

    Args:
        name: of the control.
        must: what it must be, in words.
        found: its verdict.
        ok: whether it is what it must be.
        blocks: what may not be said if it is not: "all" verdicts, or those on "ranking"; "" for what is only shown.
    """

    name: str
    must: str
    found: str
    ok: bool
    blocks: str


def check_controls(judgements: Mapping[str, Judgement], thresholds: Thresholds) -> list[Control]:
    """Compare the verdicts of the controls with what they must be. A control that was not computed is left out.

    Args:
        judgements: control → its judgement.
        thresholds: of the verdicts.
    """

    def row(name: str, must: str, ok: Callable[[Judgement], bool], blocks: str = "all") -> list[Control]:
        found = judgements.get(name)
        return [] if found is None else [Control(name, must, found.verdict, ok(found), blocks)]

    reads = [
        c for name in DATA_CONTROLS for c in row(name, f"{READS}, where it tells", lambda j: j.verdict == READS or not tells(j, thresholds))
    ]
    return [
        *row("test_error", "tells natural from random labels", lambda j: tells(j, thresholds)),
        *row("test_error", "ranks (it is the oracle)", lambda j: j.ranks, "ranking"),
        *(c for sd in NOISE for c in row(f"test_error_noise_{sd:g}", "shows the power of this population", lambda j: True, "")),
        *_random_numbers(judgements, thresholds),
        *row("constant", SAME, lambda j: j.verdict == SAME),
        *row("control_n_parameters", f"{SAME}; may rank", lambda j: not any(follows(j, thresholds).values())),
        *row("control_vc_dimension", f"{SAME}; may rank", lambda j: not any(follows(j, thresholds).values())),
        *row("training_error", "does not tell at equal loss", lambda j: not follows(j, thresholds)["T1a"]),
        *row("training_loss", "does not tell at equal loss", lambda j: not follows(j, thresholds)["T1a"]),
        *row(
            "log_steps",
            "does not tell at equal steps, nor at both",
            lambda j: not {k for k, v in follows(j, thresholds).items() if v} & {"T1b", "T1c"},
        ),
        *reads,
        *row("usual_order", "does not tell; may rank", lambda j: not any(follows(j, thresholds).values())),
    ]


def _random_numbers(judgements: Mapping[str, Judgement], thresholds: Thresholds) -> list[Control]:
    """Check the random numbers together: none may tell; where equivalence can be shown, most must be the same in both cases."""
    numbers = [judgement for name, judgement in judgements.items() if name.startswith("random_number_")]
    if not numbers:
        return []
    telling, same = sum(tells(j, thresholds) for j in numbers), sum(j.verdict == SAME for j in numbers)
    enough = all(min(j.outcomes["T1a"].pairs, j.outcomes["T1c"].pairs) >= thresholds.pairs for j in numbers)
    least = 3 * len(numbers) // 4 if enough else 0
    must = f"none of {len(numbers)} tells" + (f", at least {least} are {SAME}" if enough else "")
    ranking = sum(j.ranks for j in numbers)
    return [
        Control("random numbers", must, f"{telling} tell, {same} are {SAME}", not telling and same >= least, "all"),
        Control("random numbers", f"none of {len(numbers)} ranks", f"{ranking} rank", not ranking, "ranking"),
    ]
