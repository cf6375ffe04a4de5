"""A network with Gaussian noise in all its parameters, whose size is varied while the draws stay the same.

The parameters are θ + b + σ a for each draw (a, b), so the outputs of the first layer are linear in σ: its products with the
inputs are computed once, whatever sizes are tried. In a fully connected network that is nearly all of the work. Draws come in pairs,
a and -a, so that what changes sign with the noise drops out of a mean, and both need one product. b is 0; of noise
relative to θ it is normal with standard deviation 10⁻³, small beside σ a, and has four draws in turn. Each draw has the distribution that
is asked for.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from shattering import seeds
from shattering.measures import layers
from shattering.measures.derivatives import Vector
from shattering.measures.fitted import MEMORY, Fitted

FLOOR = 1e-3  # ε: the relative noise has the standard deviation √(σ'²θ² + ε²) (Jiang et al. 2020, eq. 56)
_BASES = 4  # draws of b


class Noisy:
    """A network under noise of any size σ, by draws that are the same at every size.

    Args:
        fitted: the network with its training examples.
        relative: False: noise N(0, σ²) in each parameter. True: N(0, σ²θ_j² + ε²), ε = 10⁻³.
        draws: how many there are.
    """

    def __init__(self, fitted: Fitted, relative: bool, draws: int):
        self.fitted, self.relative, self.draws = fitted, relative, draws
        self._kept: dict[tuple[str, int], Vector] = {}
        self._outputs: dict[tuple[str, int], torch.Tensor] = {}
        self._prepared: list[tuple[torch.Tensor, torch.Tensor]] | None = None

    def error(self, draw: int, sigma: float) -> float:
        """Return the share of the training examples that the network misclassifies under a draw of noise of size σ."""
        return (
            sum(int((logits.argmax(1) != labels).sum()) for logits, labels in self._logits(draw, sigma, self._base(draw))) / self.fitted.n
        )

    def loss(self, draw: int, sigma: float) -> float:
        """Return the mean loss under a draw of noise of size σ without b; infinite where it is not finite."""
        found = [F.cross_entropy(logits.double(), labels, reduction="sum") for logits, labels in self._logits(draw, sigma, ("theta", 0))]
        total = float(torch.stack(found).sum()) / self.fitted.n
        return total if abs(total) < float("inf") else float("inf")

    def noise(self, draw: int) -> tuple[Vector, Vector]:
        """Return (a, θ + b) of a draw, by parameter."""
        sign = 1 if draw % 2 == 0 else -1
        return {name: sign * part for name, part in self._drawn(("noise", draw // 2)).items()}, self._drawn(self._base(draw))

    def _base(self, draw: int) -> tuple[str, int]:
        return ("base", draw // 2 % _BASES) if self.relative else ("theta", 0)

    def _drawn(self, key: tuple[str, int]) -> Vector:
        """Return θ, an a, or a θ + b, by parameter."""
        kind, place = key
        theta = self.fitted.parameters
        if kind == "theta":
            return theta
        generator = torch.Generator().manual_seed(seeds.integer(self.fitted.seed, f"measures/{kind}", place))
        normal = {name: torch.randn(p.shape, generator=generator).to(p.device, p.dtype) for name, p in theta.items()}
        if kind == "base":
            return {name: theta[name] + FLOOR * part for name, part in normal.items()}
        return {name: part * theta[name] for name, part in normal.items()} if self.relative else normal

    @torch.no_grad()
    def _logits(self, draw: int, sigma: float, base: tuple[str, int]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the logits and labels of the training examples, in blocks, with the parameters `base` and noise."""
        noise, sigma = ("noise", draw // 2), sigma if draw % 2 == 0 else -sigma
        at, along = self._rest(base), self._rest(noise)
        values, start = {name: torch.add(part, along[name], alpha=sigma) for name, part in at.items()}, 0
        for inputs, labels in self._examples():
            if self.first is None:
                logits = self.fitted.call(values, inputs)
            else:
                name, network = self.first
                rows = slice(start, start + len(inputs))
                network.set_submodule(name, _Given(torch.add(self._outputs[base][rows], self._outputs[noise][rows], alpha=sigma)))
                logits = self.fitted.logits_in(functional_call(network, values, (inputs,)), len(inputs))
            yield logits, labels
            start += len(inputs)

    def _rest(self, key: tuple[str, int]) -> Vector:
        """Return `_drawn` without the first layer's, whose outputs are kept; what memory allows is kept too."""
        if key in self._kept:
            return self._kept[key]
        drawn = self._drawn(key)
        if self.first is not None:
            name = self.first[0]
            if key not in self._outputs:
                self._outputs[key] = self._first_outputs(name, drawn)
            drawn = _without(self.fitted, name, drawn)
        if (len(self._kept) + 1) * sum(part.nbytes for part in drawn.values()) <= MEMORY:
            self._kept[key] = drawn
        return drawn

    @cached_property
    def _first_inputs(self) -> list[torch.Tensor]:
        assert self.first is not None
        return [layers.hidden(self.fitted.module, self.first[0], inputs)[0] for inputs, _ in self._examples()]

    def _first_outputs(self, name: str, values: Vector) -> torch.Tensor:
        """Return the first layer's outputs with its parameters among some values, for all training examples, (n, …)."""
        return torch.cat([_output(self.fitted, name, inputs, values) for inputs in self._first_inputs])

    def _examples(self) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        """Return the training examples in blocks; where they fit in memory they are prepared once."""
        if self._prepared is None:
            first, _ = next(self.fitted.blocks())
            size = first[0].numel() * first.element_size() * self.fitted.n
            self._prepared = list(self.fitted.blocks()) if size <= MEMORY else []
        return self._prepared or self.fitted.blocks()

    @cached_property
    def first(self) -> tuple[str, nn.Module] | None:
        """The first layer's name, and a copy of the network in which it returns what it is given; None: it is to be evaluated anew.

        None where its outputs for all draws take more than `MEMORY`, and where the logits with them are not the network's own.
        """
        fitted = self.fitted
        few = fitted.inputs(torch.arange(min(2, fitted.n), device=fitted.device))
        found = layers.record(fitted.module, few)
        if not found or not found[0].name or set(_own(fitted, found[0].name)) != set(dict(found[0].module.named_parameters())):
            return None
        name, (scaled, base) = found[0].name, self.noise(0)
        moved = {n: part + scaled[n] for n, part in base.items()}
        given = layers.hidden(fitted.module, name, few)[0]
        output = _output(fitted, name, given, moved)
        if ((self.draws // 2 + _BASES + 2) * output[0].nbytes + few[0].nbytes + given[0].nbytes) * fitted.n > MEMORY:
            return None
        network = layers.copied(fitted.module)
        network.set_submodule(name, _Given(output))
        try:
            logits = fitted.logits_in(functional_call(network, _without(fitted, name, moved), (few,)), len(few))
        except (AttributeError, KeyError, TypeError):  # the network reads the layer's weights elsewhere
            return None
        return (name, network) if torch.allclose(logits, fitted.call(moved, few), rtol=1e-4, atol=1e-4) else None


class _Given(nn.Module):
    """A layer that returns what it was given, whatever its input."""

    def __init__(self, output: torch.Tensor):
        super().__init__()
        self.output = output

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.output


def _own(fitted: Fitted, layer: str) -> dict[str, str]:
    """Return own name → name in the network of a layer's trainable parameters."""
    return {name.removeprefix(f"{layer}."): name for name in fitted.parameters if name.rpartition(".")[0] == layer}


def _without(fitted: Fitted, layer: str, values: Vector) -> Vector:
    own = _own(fitted, layer).values()
    return {name: part for name, part in values.items() if name not in own}


def _output(fitted: Fitted, layer: str, inputs: torch.Tensor, values: Vector) -> torch.Tensor:
    """Return a layer's outputs (b, …) for its inputs, with its parameters among some values."""
    own = {short: values[name] for short, name in _own(fitted, layer).items()}
    return functional_call(fitted.module.get_submodule(layer), own, (inputs,))
