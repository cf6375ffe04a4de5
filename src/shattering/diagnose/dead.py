"""Find ReLU layers whose units are dead before training: they answer 0 to every example, and have no gradient."""

from collections.abc import Iterator
from copy import copy

import torch
from torch import nn

from shattering.data.split import Split
from shattering.diagnose.finding import Finding
from shattering.learners.network import NetworkClassifier

DEAD = 0.9  # share of a layer's units that answer 0 to every example looked at, from which the layer is dead


def dead_at_start(model: NetworkClassifier, initial: nn.Module, probe: Split) -> Iterator[Finding]:
    """Report the ReLU layer with the most dead units at initialization, where training cannot wake them.

    Args:
        model: fitted.
        initial: its module before training.
        probe: training examples.
    """
    shares = dead_shares(model, initial, probe)
    name = max(shares, key=lambda layer: shares[layer], default="")
    if not name or shares[name] < DEAD:
        return
    evidence = (
        f"Before training {shares[name]:.0%} of the units of the ReLU layer {name!r} answer 0 to all {len(probe):,} examples looked at, "
        "so that no gradient passes through them."
    )
    remedy = "Initialize the layer before it otherwise (biases of 0, weights by torch's default), or scale the inputs."
    yield Finding("dead ReLUs", evidence, remedy, "likely")


def dead_shares(model: NetworkClassifier, module: nn.Module, probe: Split) -> dict[str, float]:
    """Map the name of each ReLU layer of a module to the share in 0…1 of its units that answer 0 to every example.

    A unit is what has one index on the second axis: an output of a linear layer, a channel of a convolution.
    """
    alive: dict[str, torch.Tensor] = {}

    def watch(name: str):
        def hook(_: nn.Module, __: tuple, out: torch.Tensor) -> None:
            units = (out.detach() > 0).transpose(0, 1).flatten(1).any(1) if out.ndim > 1 else (out > 0)
            alive[name] = units if name not in alive or alive[name].shape != units.shape else alive[name] | units

        return hook

    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.ReLU)}
    hooks = [layer.register_forward_hook(watch(name)) for name, layer in layers.items()]
    try:
        watched = copy(model)
        watched.module_ = module.to(model.device_)
        watched.logits(probe)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: float((~units).cpu().double().mean()) for name, units in alive.items()}
