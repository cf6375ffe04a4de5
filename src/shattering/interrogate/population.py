"""Populations of runs: cells, treatments, twins and ladders, as ordinary specifications, at three scales."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import floor, log10

from shattering.data.noise import Pixels
from shattering.errors import unknown
from shattering.randomization import Randomization
from shattering.runs.spec import RunSpec
from shattering.runs.stored import Run

FIT = 0.01  # nats: the training loss at which runs stop (Jiang et al. 2020)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Architectures that are trained alike: every combination is a cell.

    Args:
        networks: names of networks.
        n_train: training images.
        learning_rate: rates.
        batch_size: sizes of the batches.
        weight_decay: coefficients.
    """

    networks: Sequence[str]
    n_train: int
    learning_rate: Sequence[float]
    batch_size: Sequence[int]
    weight_decay: Sequence[float] = (0.0,)

    def cells(self) -> Iterator[dict]:
        """Yield the parameters of each cell."""
        for network, rate, size, decay in product(self.networks, self.learning_rate, self.batch_size, self.weight_decay):
            yield {"network": network, "learning_rate": rate, "batch_size": size, "weight_decay": decay}


@dataclass(frozen=True, kw_only=True)
class PopulationScale:
    """The size of a population.

    Args:
        name: of the scale.
        dataset: a name in `DATASETS`, or a path.
        n_test: test images; None: all.
        epochs: the budget in which a run has to reach `FIT`.
        blocks: what is trained.
        seeds: seeds of natural and random labels, and of runs with equal steps.
        corruptions: probability of label corruption between 0 and 1 → seeds.
        pixels: treatment of the pixels → seeds.
        ladder: by which n is divided for random labels on fewer examples.
        ladder_seeds: seeds of the ladder.
        untrained: seeds of untrained networks, per architecture.
    """

    name: str
    dataset: str
    n_test: int | None
    epochs: int
    blocks: Sequence[Block]
    seeds: int
    corruptions: Mapping[float, int]
    pixels: Mapping[Pixels, int]
    ladder: Sequence[int] = (2, 4, 8, 16)
    ladder_seeds: int = 1
    untrained: int = 20


_SMALL_MLPS = ("mlp-1x128", "mlp-1x512", "mlp-3x128", "mlp-3x512")
SCALES = {
    scale.name: scale
    for scale in (
        PopulationScale(
            name="demo",
            dataset="digits",
            n_test=None,
            epochs=500,
            blocks=(
                Block(
                    networks=("mlp-1x64", "mlp-1x256", "mlp-2x64", "mlp-2x256"),
                    n_train=200,
                    learning_rate=(0.02, 0.05),
                    batch_size=(16, 64),
                ),
            ),
            seeds=2,
            corruptions={0.5: 1},
            pixels={},
            untrained=10,
        ),
        PopulationScale(
            name="small",
            dataset="cifar10",
            n_test=2000,
            epochs=600,
            blocks=(
                Block(networks=_SMALL_MLPS, n_train=1000, learning_rate=(0.005, 0.01), batch_size=(32, 128)),
                Block(networks=_SMALL_MLPS, n_train=1000, learning_rate=(0.01,), batch_size=(32, 128), weight_decay=(1e-4,)),
                Block(networks=("small-cnn-8", "small-cnn-16"), n_train=250, learning_rate=(0.01, 0.02), batch_size=(32, 128)),
            ),
            seeds=2,
            corruptions={0.25: 1, 0.5: 1, 0.75: 1},
            pixels={"random": 1, "gaussian": 1},
            untrained=10,
        ),
        PopulationScale(
            name="full",
            dataset="cifar10",
            n_test=None,
            epochs=400,
            blocks=(
                Block(
                    networks=(
                        "mlp-1x256",
                        "mlp-1x512",
                        "mlp-1x1024",
                        "mlp-3x256",
                        "mlp-3x512",
                        "mlp-3x1024",
                        "small-cnn-16",
                        "small-cnn-64",
                    ),
                    n_train=50_000,
                    learning_rate=(0.005, 0.01, 0.02),
                    batch_size=(32, 128),
                    weight_decay=(0.0, 5e-4),
                ),
                Block(
                    networks=("alexnet", "inception", "inception-no-bn"),
                    n_train=50_000,
                    learning_rate=(0.01, 0.1),
                    batch_size=(32, 128),
                    weight_decay=(0.0, 5e-4),
                ),
            ),
            seeds=3,
            corruptions={0.25: 3, 0.5: 3, 0.75: 3},
            pixels={"random": 3, "gaussian": 3},
            ladder_seeds=3,
        ),
    )
}


def find_scale(name: str) -> PopulationScale:
    """Return a scale by its name. Raises InputError for an unknown one."""
    if name not in SCALES:
        raise unknown("scale", name, SCALES)
    return SCALES[name]


def natural(scale: PopulationScale, runs: Sequence[Run] = ()) -> list[RunSpec]:
    """List the first stage of a population: runs on original labels, which stop at `FIT`, and untrained networks.

    Args:
        scale: see `SCALES`.
        runs: not looked at; the other stages take the runs of those before them.

    Example:
        >>> len(natural(SCALES["demo"]))
        112
    """
    trained = [
        _spec(scale, block.n_train, cell, seed, Randomization(), FIT)
        for seed in range(scale.seeds)
        for block in scale.blocks
        for cell in block.cells()
    ]
    untrained = {spec.run_id: spec for block in scale.blocks for spec in _untrained(scale, block)}  # blocks may share networks
    return [*trained, *untrained.values()]


def randomized(scale: PopulationScale, runs: Sequence[Run]) -> list[RunSpec]:
    """List the second stage: random and partly random labels, fewer of them, and other pixels.

    Each run stops at the loss that the natural run of its cell and seed has reached, rounded down to two digits. To stop all of them at
    `FIT` would leave a bias: the loss is looked at after each epoch, and in an epoch that of original labels falls further.

    Random labels come first, then the ladder, then the rest, and within each the first seed, so that an interrupted sweep has completed
    as many comparisons as it could.

    Args:
        scale: see `SCALES`.
        runs: of the first stage, in any order; where the natural run is not done, or has not reached `FIT`, there is nothing to compare.

    Example:
        >>> randomized(SCALES["demo"], [])
        []
    """
    reached = {run.run_id: float(run.history["full_train_loss"].iloc[-1]) for run in runs if _reached(run)}
    stages: list[list[RunSpec]] = [[], [], []]
    for block in scale.blocks:
        for cell in block.cells():
            for seed in range(scale.seeds):
                loss = reached.get(_spec(scale, block.n_train, cell, seed, Randomization(), FIT).run_id)
                for stage, n, randomization in _treatments(scale, block.n_train, seed) if loss is not None else ():
                    stages[stage].append(_spec(scale, n, cell, seed, randomization, rounded_down(loss or FIT)))
    return [spec for stage in stages for spec in sorted(stage, key=lambda spec: spec.seed)]


def _reached(run: Run) -> bool:
    """Return whether a run is done, is one of networks to a loss, and has reached it."""
    stop = run.spec.params.get("stop_at_loss")
    return run.status == "done" and stop is not None and not run.history.empty and run.history["full_train_loss"].iloc[-1] <= stop


def _treatments(scale: PopulationScale, n: int, seed: int) -> Iterator[tuple[int, int, Randomization]]:
    """Yield (order, number of images, randomization) of all runs that belong to a natural run."""
    yield 0, n, Randomization(1.0)
    for part in scale.ladder if seed < scale.ladder_seeds else ():
        yield 1, n // part, Randomization(1.0)
    for p, k in scale.corruptions.items():
        if seed < k:
            yield 2, n, Randomization(p)
    for pixels, k in scale.pixels.items():
        if seed < k:
            yield 2, n, Randomization(pixels=pixels)


def rounded_down(loss: float) -> float:
    """Round a loss down to two digits, so that a run's id does not depend on how a machine rounds.

    Example:
        >>> rounded_down(0.008678)
        0.0086
    """
    step = 10.0 ** (floor(log10(loss)) - 1)
    return float(f"{floor(loss / step + 1e-9) * step:.2g}")


def equal_steps(scale: PopulationScale, runs: Sequence[Run]) -> list[RunSpec]:
    """List the third stage: original labels for as many epochs as the random labels of the same cell and seed took.

    Args:
        scale: not looked at.
        runs: of the stages before, in any order.

    Returns:
        The specifications, with the same data, initial weights and order.

    Example:
        >>> equal_steps(SCALES["demo"], [])
        []
    """
    at_loss = [run for run in runs if run.is_trained and run.spec.params.get("stop_at_loss") is not None]
    plain = [(run, _without_stop(run.spec)) for run in at_loss]
    natural = {spec.run_id for run, spec in plain if run.spec.randomization == Randomization()}
    out = [
        replace(spec, params={**spec.params, "epochs": int(run.result["epochs"]), "evaluate_train": True})
        for run, spec in plain
        if run.spec.randomization == Randomization(1.0) and spec.run_id in natural
    ]
    return sorted(out, key=lambda spec: spec.seed)


STAGES = (natural, randomized, equal_steps)  # each takes the scale and the runs of those before it


def _without_stop(spec: RunSpec) -> RunSpec:
    params = {name: value for name, value in spec.params.items() if name != "stop_at_loss"}
    return replace(spec, randomization=Randomization(), params=params)


def _spec(scale: PopulationScale, n: int, cell: Mapping[str, object], seed: int, randomization: Randomization, loss: float) -> RunSpec:
    params = {**cell, "epochs": scale.epochs, "stop_at_loss": loss, "track_examples": True}
    return RunSpec(scale.dataset, n, scale.n_test, randomization, params=params, seed=seed)


def _untrained(scale: PopulationScale, block: Block) -> list[RunSpec]:
    """List networks as they are initialized: trained for an epoch at a rate of 0, so that they are stored as any other run is."""
    return [
        RunSpec(
            scale.dataset,
            block.n_train,
            scale.n_test,
            Randomization(p),
            params={"network": network, "epochs": 1, "learning_rate": 0.0},
            seed=seed,
        )
        for network in block.networks
        for seed in range(scale.untrained)
        for p in (0.0, 1.0)
    ]
