"""Tables of runs that were never run, with measures whose verdicts are known."""

from itertools import product

import numpy as np
import pandas as pd

from shattering.interrogate.controls import control_columns

AXES = ["width", "depth", "learning_rate", "batch_size"]
SIZES = (2, 4, 8, 16)


def simulate(seeds: int = 3, n_test: int = 20_000, spread: float = 0.06, ladder: bool = True, twins: bool = True) -> pd.DataFrame:
    """Make the table of 16 cells. spread: by how much the gap of natural runs differs between the two sizes of batches."""
    generator = np.random.default_rng(0)
    rows = []
    for k, values in enumerate(product((128, 512), (1, 3), (0.01, 0.03), (32, 128))):
        cell = {"cell": f"cell{k:02d}", **dict(zip(AXES, values, strict=True)), "layers": values[1] + 1, "parameters": values[0] * 1000}
        own = 0.4 + spread * float(np.dot([0.5, 0.25, 0.125, 1.0], np.equal(values, (128, 1, 0.01, 32)))) + generator.normal(0, 0.001)
        for seed in range(seeds):
            steps = 400 * (1 + (values[3] == 32)) * generator.uniform(0.9, 1.1)

            def add(condition, p, n, steps, loss, gap, cell=cell, seed=seed):
                rows.append(
                    {
                        "condition": condition,
                        "corruption": p,
                        "n": n,
                        "updates": round(steps),
                        "loss": loss,
                        "gap": gap,
                        "seed": seed,
                        **cell,
                    }
                )

            add("natural", 0.0, 1000, steps, 0.0095, own + generator.normal(0, 0.001))
            add("random", 1.0, 1000, steps * 9, 0.0094, 0.9)
            for p in (0.25, 0.5, 0.75):
                add("partial", p, 1000, steps * (1 + 8 * p), 0.0094, own + (0.9 - own) * p)
            if twins:
                add("equal steps", 0.0, 1000, steps * 9, 0.0005, own)
            for part in SIZES if ladder else ():
                add("fewer", 1.0, 1000 // part, steps * 9 / part**1.2, 0.0094, 0.9)
    architectures = [f"mlp-{depth}x{width}" for depth in (1, 3) for width in (128, 512)]
    for name, seed, p in product(architectures, range(20), (0.0, 1.0)):
        rows.append(
            {"cell": name, "condition": f"untrained {'random' if p else 'natural'}", "corruption": p, "n": 1000, "updates": 0, "seed": seed}
        )
        rows[-1] |= {"loss": 2.3, "gap": 0.0, "parameters": 128_000, "layers": 2}
    table = pd.DataFrame(rows)
    table["run"] = [f"{i:012x}" for i in range(len(table))]
    table["fitted"] = True
    table["train_accuracy"] = np.where(table["condition"].str.startswith("untrained"), 0.1, 1.0)
    table["test_accuracy"] = np.clip(table["train_accuracy"] - table["gap"], 0, 1)
    table["n_test"] = n_test
    table["gap_error"] = np.sqrt(table["test_accuracy"] * (1 - table["test_accuracy"]) / n_test)
    table["gap_to_true"] = table["gap"]
    return table


def with_measures(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Add planted measures and the controls. Returns the table, and the names of both."""
    generator = np.random.default_rng(1)
    noise = lambda sd: generator.normal(0, sd, len(table))  # noqa: E731
    random, trained = table["corruption"].to_numpy(), ~table["condition"].str.startswith("untrained").to_numpy()
    n_random = np.where(table["corruption"] > 0, table["n"] * table["corruption"], 40)  # as many random labels as natural ones are worth
    columns = {
        "satisfies": np.where(trained, table["gap"] * 10, 5) + noise(0.02),
        "tells_only": np.where(trained, np.log(n_random), 3) + noise(0.02) + 0.3 * (table["cell"].str[-1].isin(list("13579"))),
        "spoiled_by_loss": np.log(table["loss"]) + noise(0.05),
        "spoiled_by_effort": np.log1p(table["updates"]) + noise(0.05),
        "spoiled_by_data": random + noise(0.05),
        "backwards": -np.where(trained, table["gap"] * 10, 5) + noise(0.05),
        "indifferent": noise(1.0),
        "cannot_be_computed": np.where(generator.random(len(table)) < 0.3, np.nan, table["gap"]),
        "infinite": np.where(trained & (random == 1), np.inf, noise(1.0)),
    }
    table = pd.concat([table, pd.DataFrame(columns, index=table.index)], axis=1)
    controls = control_columns(table, AXES).drop(columns=[f"random_number_{k:02d}" for k in range(4, 20)])  # four will do
    controls["nearest_neighbor_mismatch"] = random + noise(0.01)
    controls["data_label_complexity"] = random + noise(0.01)
    return pd.concat([table, controls], axis=1), list(columns), list(controls)
