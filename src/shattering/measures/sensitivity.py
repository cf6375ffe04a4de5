"""Measures of how strongly a network's output changes with its inputs and with its hidden activations."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from shattering.learners.train.batches import Examples
from shattering.measures.derivatives import checked, draws
from shattering.measures.fitted import Fitted, NotComputable, margins_of, slope_in
from shattering.measures.layers import Layer
from shattering.measures.sampling import shuffled, unlabelled
from shattering.parameters import NotNegative, check_arguments

RADIUS = 30 / 255  # of the range of the inputs
STEPS = 10  # of an ascent in the inputs
DRAWS = 10  # of noise per layer and example
_TABLE = 2**23  # numbers in the noises of a layer; where all examples and draws need more, some share theirs


def jacobian_norm(fitted: Fitted) -> float:
    """Return the mean of ‖∂p/∂x‖_F over the unlabelled examples, p: the probabilities; over the training examples if there are none.

    Novak et al. ("Sensitivity and generalization in neural networks: an empirical study", ICLR 2018), who take the test
    inputs. Inputs are as the network gets them, after preparation.

    Example:
        >>> print(f"{jacobian_norm(fitted):.3g}")
        0.974
    """
    _ = fitted.logits  # raises for a diverged network
    examples = fitted.train if fitted.unlabelled is None else unlabelled(fitted)
    return float(_jacobian_squares(fitted, examples, lambda logits: logits.softmax(1)).sqrt().mean())


def geometric_complexity(fitted: Fitted) -> float:
    """Return the mean of ‖∂z/∂x‖_F² over the training examples.

    Dherin, Munn, Rosca & Barrett ("Why neural networks find simple solutions: the many regularizers of geometric complexity", NeurIPS
    2022). Inputs are as the network gets them, after preparation.

    Example:
        >>> print(f"{geometric_complexity(fitted):.3g}")
        278
    """
    _ = fitted.logits  # raises for a diverged network
    return checked(float(_jacobian_squares(fitted, fitted.train, lambda logits: logits).mean()), "a derivative")


def _jacobian_squares(fitted: Fitted, examples: Examples, head: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Return ‖∂ head(z) / ∂x‖_F² of each example, (n,) float64: one backward pass per class and block."""
    found = []
    for inputs in _real_inputs(fitted, examples):
        x = inputs.clone().requires_grad_()
        outputs = head(fitted.call(fitted.parameters, x))
        squares = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for c in range(fitted.n_classes):
            squares += slope_in(x, outputs[:, c].sum(), keep=c < fitted.n_classes - 1).flatten(1).double().square().sum(1)
        found.append(squares)
    return torch.cat(found)


def _real_inputs(fitted: Fitted, examples: Examples) -> Iterator[torch.Tensor]:
    for inputs, _ in fitted.blocks(examples):
        if not inputs.is_floating_point():
            raise NotComputable("inputs are whole numbers, such as tokens, so that there is nothing between them")
        yield inputs


def critical_sample_ratio(fitted: Fitted, radius: NotNegative = RADIUS) -> float:
    """Return the share of unlabelled examples whose class changes for some u with every abs(u_j) ≤ r, found by 10 steps of sign ascent.

    Arpit et al. ("A closer look at memorization in deep networks", ICML 2017), who search with Langevin noise. r is 30/255
    of the range of the inputs, as the network gets them: 30 grey levels of images in 0…255.

    Example:
        >>> print(f"{critical_sample_ratio(fitted):.3g}")
        0.933
    """
    check_arguments(critical_sample_ratio, locals(), "radius")
    _ = fitted.logits  # raises for a diverged network
    examples = unlabelled(fitted)
    ends = [(float(x.min()), float(x.max())) for x in _real_inputs(fitted, examples)]
    largest = radius * (max(high for _, high in ends) - min(low for low, _ in ends))
    changed = [_changes(fitted, x, largest) for x in _real_inputs(fitted, examples)]
    return float(torch.cat(changed).double().mean())


def _changes(fitted: Fitted, inputs: torch.Tensor, radius: float) -> torch.Tensor:
    """Return which examples change their class within the box, (b,) bool. Those that have are not ascended further."""
    rows, u = torch.arange(len(inputs), device=inputs.device), torch.zeros_like(inputs)
    changed, before = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device), None
    for step in range(STEPS + 1):
        u.requires_grad_()
        logits = fitted.call(fitted.parameters, inputs[rows] + u)
        before = logits.argmax(1) if before is None else before
        stays = logits.argmax(1) == before
        changed[rows[~stays]] = True
        if step == STEPS or not bool(stays.any()):
            break
        slope = slope_in(u, margins_of(logits, before).sum())
        u = (u.detach() - radius / 4 * slope.sign()).clamp(-radius, radius)[stays]
        rows, before = rows[stays], before[stays]
    return changed


def noise_sensitivity(fitted: Fitted) -> float:
    """Return the maximum over layers of the mean of ‖f(h + η‖h‖/√dim) - z‖² / ‖z‖², h: the layer's input, η: standard normal, 10 draws.

    Arora, Ge, Neyshabur & Zhang ("Stronger generalization bounds for deep nets via a compression approach", ICML 2018),
    whose noise is larger by √dim. f is the rest of the network from that layer on.

    Raises:
        NotComputable: where all logits of an example are 0.

    Example:
        >>> print(f"{noise_sensitivity(fitted):.3g}")
        144
    """
    norms = fitted.logits.square().sum(1)
    if not bool((norms > 0).all()):
        raise NotComputable("an example has no logit but 0")
    order = shuffled(fitted)
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    return checked(max(_sensitivity(fitted, layer, norms, places) for layer in fitted.layers), "the output with noise")


def _sensitivity(fitted: Fitted, layer: Layer, norms: torch.Tensor, places: torch.Tensor) -> float:
    """Return the mean relative change for noise at one layer; the noise of an example depends on its place alone."""
    size = min(DRAWS * fitted.n, max(DRAWS, _TABLE // max(1, math.prod(layer.input_shape))))
    table = torch.randn((size, *layer.input_shape), generator=draws(fitted, f"noise/{layer.name}")).to(fitted.device, fitted.dtype)
    earlier = [other.module for other in fitted.layers[: fitted.layers.index(layer)]]
    total, start = 0.0, 0
    for inputs, _ in fitted.blocks():
        rows = slice(start, start + len(inputs))
        with _replayed(fitted, earlier, inputs):
            for draw in range(DRAWS):
                noise = table[(places[rows] * DRAWS + draw) % size]
                change = _with_noise(fitted, layer.module, noise, inputs) - fitted.logits[rows]
                total += float((change.square().sum(1) / norms[rows]).sum())
        start += len(inputs)
    return total / (DRAWS * fitted.n)


@contextlib.contextmanager
def _replayed(fitted: Fitted, modules: Sequence[nn.Module], inputs: torch.Tensor) -> Iterator[None]:
    """Within the context, modules that are called once return what they return for inputs, without computing it again."""
    found: dict[nn.Module, list[torch.Tensor]] = {module: [] for module in modules}

    def keep(module: nn.Module, _: tuple, output: torch.Tensor) -> None:
        found[module].append(output.clone())

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        with torch.no_grad():
            fitted.call(fitted.parameters, inputs)
    finally:
        for handle in handles:
            handle.remove()
    once = {module: outputs[0] for module, outputs in found.items() if len(outputs) == 1}
    own = {module: vars(module).get("forward") for module in once}
    try:
        for module, output in once.items():
            module.forward = lambda *_, output=output: output.clone()
        yield
    finally:
        for module, forward in own.items():
            del module.forward
            if forward is not None:
                module.forward = forward


@torch.no_grad()
def _with_noise(fitted: Fitted, module: nn.Module, noise: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return the logits, float64, with noise in the input of a module at its first call."""
    done = []

    def add(_: nn.Module, arguments: tuple) -> tuple | None:
        if done:
            return None
        done.append(True)
        h = arguments[0]
        sizes = h.flatten(1).norm(dim=1) / h[0].numel() ** 0.5
        return (h + noise * sizes.view(-1, *[1] * (h.ndim - 1)), *arguments[1:])

    handle = module.register_forward_pre_hook(add)
    try:
        return fitted.call(fitted.parameters, inputs).double()
    finally:
        handle.remove()
