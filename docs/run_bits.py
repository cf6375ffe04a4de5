"""Run the fits behind the capacities in bits of docs/results/bits.md: `python docs/run_bits.py`.

Fits that are stored are not made again.
"""

import warnings
from pathlib import Path

import torch
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from shattering.experiments.bit_capacity import bit_capacity

STORE = Path(__file__).parent.parent / "results" / "bits"


def mlp(width: int) -> BaseEstimator:
    """A network of one hidden layer, trained by L-BFGS on all examples at once, without weight decay."""
    return make_pipeline(StandardScaler(), MLPClassifier((width,), solver="lbfgs", alpha=0, tol=0, max_iter=2000, max_fun=100_000))


MODELS = {**{f"MLP 1x{width}": mlp(width) for width in (4, 8, 16, 32)}, "random forest": RandomForestClassifier()}


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    for title, model in MODELS.items():
        for labels in ("random", "true"):
            found = bit_capacity(model, "digits", labels=labels, steps=1, store=STORE)
            print(f"{title}, {labels} labels: {found.bits:,.0f} bits, {found.bits_per_parameter:.3g} per number", flush=True)


if __name__ == "__main__":
    main()
