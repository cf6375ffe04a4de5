"""`Fitted`: a trained network with what it was trained on, as every measure of generalization gets it.

A measure is a plain function `Fitted` → float; the larger, the worse the network is predicted to generalize. What several measures
need is computed once. A `Fitted` holds a private copy of the network, so nothing that a measure does reaches the caller's.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from typing import Any, TypeVar

import pandas as pd
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from shattering.brief import Brief
from shattering.errors import InputError, reason
from shattering.learners.train.batches import Examples
from shattering.learners.train.outputs import Outputs, taken
from shattering.measures import layers
from shattering.measures.layers import Layer

T = TypeVar("T")
MEMORY = 256 * 2**20  # bytes that a block of examples may take beside the network
_PER_EXAMPLE = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_BLOCK = {"cpu": 256}  # examples per block of an evaluation; 1,024 elsewhere


class NotComputable(Exception):
    """A measure does not exist for this network. The message is the reason, as it stands beside the NaN.

    Example:
        >>> from shattering import measure
        >>> def depth(network):
        ...     raise NotComputable("there is no linear layer")
        >>> measure(fitted, measures={"depth": depth}).loc["depth", "reason"]
        'there is no linear layer'
    """


@dataclass(frozen=True, eq=False, repr=False)
class Fitted(Brief):
    """A network in evaluation mode, its training examples with the labels that it was trained on, and what is known of its training.

    `shattering.measures.fitting.as_fitted` makes one of a model, a module or a stored run. Tensors are on the device of the network.

    Args:
        module: the network: a private copy in evaluation mode.
        train: the n training examples, prepared as the network takes them, with the labels (n,) that it was trained on.
        n_classes: number k of classes: of logits per example.
        make_initial: rebuilds the network as it was before training; None: nobody knows it.
        history: one row per epoch, with the columns of `NetworkClassifier.history_`; None: there is none.
        examples: one row per training example, with the columns of `Tracker.table`; None: they were not tracked.
        unlabelled: more examples of the same kind, whose labels are not to be used; None: there are none.
        held_out: labelled examples, with the noise of the training labels, that the network was not trained on; None: there are none.
        twin: the same network trained on random labels for as many epochs; None: there is none.
        siblings: the same network trained from other seeds.
        rate: learning rate of the last update; None: not known.
        batch_size: examples per update; None: not known.
        seed: of what a measure draws.
        block: examples per block of an evaluation; None: 256 on a CPU, 1,024 elsewhere. It bounds memory and changes no value.
        prepared: makes examples of inputs, as this network takes them; None: they are given as it takes them.
        raw_unlabelled: the unlabelled examples before they were prepared; None: they are given as the network takes them.

    Example:
        >>> from shattering import NetworkClassifier, load_dataset
        >>> from shattering.measures.fitting import as_fitted
        >>> data = load_dataset("digits", n_train=50)
        >>> fitted = as_fitted(NetworkClassifier("mlp-1x8", epochs=1).fit(data.train), data)
        >>> fitted.n, fitted.n_parameters, fitted.logits.shape
        (50, 610, torch.Size([50, 10]))
    """

    module: nn.Module
    train: Examples
    n_classes: int
    make_initial: Callable[[], nn.Module] | None = None
    history: pd.DataFrame | None = None
    examples: pd.DataFrame | None = None
    unlabelled: Examples | None = None
    held_out: Examples | None = None
    twin: "Fitted | None" = None
    siblings: Sequence["Fitted"] = ()
    rate: float | None = None
    batch_size: int | None = None
    seed: int = 0
    block: int | None = None
    prepared: Callable[[Any], Examples] | None = None
    raw_unlabelled: Any = None
    _kept: dict = field(default_factory=dict, init=False, repr=False)

    def copy(self) -> "Fitted":
        """Return the same with a network and labels of its own, and nothing computed yet."""
        return replace(self, module=layers.copied(self.module), train=replace(self.train, labels=self.train.labels.clone()))

    # examples

    @property
    def n(self) -> int:
        """Number of training examples."""
        return len(self.train.labels)

    @property
    def labels(self) -> torch.Tensor:
        """(n,) int64: the labels that the network was trained on."""
        return self.train.labels

    def blocks(self, examples: Examples | None = None, bytes_per_example: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield (inputs (b, …), labels (b,)) in order, so few at a time that memory stays within bounds.

        Args:
            examples: what to read; None: the training examples.
            bytes_per_example: what the caller keeps for each example of a block, such as a gradient; a block takes at most `MEMORY`.
        """
        examples = self.train if examples is None else examples
        n, start = len(examples.labels), 0
        for inputs in examples.in_order(0, n, self.block_size(bytes_per_example)):
            yield self._cast(inputs), examples.labels[start : start + len(inputs)]
            start += len(inputs)

    def inputs(self, rows: torch.Tensor, examples: Examples | None = None) -> torch.Tensor:
        """Return the inputs of rows (b,), all at once. examples: what to read; None: the training examples."""
        (inputs,) = (self.train if examples is None else examples).epoch(0, [rows])
        return self._cast(inputs)

    def block_size(self, bytes_per_example: int) -> int:
        """Return the number of examples in a block; at least 1, and so few that they take at most 256 MB. 0 bytes: no such limit."""
        size = self.block or _BLOCK.get(self.device.type, 1024)
        return max(1, min(size, MEMORY // bytes_per_example)) if bytes_per_example else size

    def _cast(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.to(self.dtype) if inputs.is_floating_point() else inputs

    # parameters

    @cached_property
    def parameters(self) -> dict[str, torch.Tensor]:
        """Trainable parameters by name, detached: θ. Its scalars are what gradients and distances are over."""
        return {name: p.detach() for name, p in self.module.named_parameters() if p.requires_grad}

    @property
    def n_parameters(self) -> int:
        """Number P of trainable scalars."""
        return sum(p.numel() for p in self.parameters.values())

    @cached_property
    def initial(self) -> nn.Module:
        """The network before training, in evaluation mode. Raises NotComputable where nobody knows it."""
        if self.make_initial is None:
            raise NotComputable("the initial weights are not known")
        initial = layers.copied(self.make_initial()).eval().to(self.device, self.dtype)
        shapes = [{name: tuple(p.shape) for name, p in module.named_parameters()} for module in (self.module, initial)]
        if shapes[0] != shapes[1]:
            raise InputError("the initial network has other parameters than the trained one, expected the same names and shapes")
        return initial

    @cached_property
    def initial_parameters(self) -> dict[str, torch.Tensor]:
        """`parameters` before training: θ⁰. Raises NotComputable where nobody knows them."""
        parameters = dict(self.initial.named_parameters())
        return {name: parameters[name].detach() for name in self.parameters}

    def call(self, parameters: dict[str, torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits (b, k) of the network with other values of `parameters`; fit for `torch.func`."""
        return self.logits_in(functional_call(self.module, parameters, (inputs,)), len(inputs))

    def logits_in(self, output: Any, n: int) -> torch.Tensor:
        """Return the logits (n, k) in what the network returns for n inputs."""
        outputs = Outputs(self.n_classes, type(self.module).__name__)
        return outputs.logits(outputs.own(output, n))

    @property
    def device(self) -> torch.device:
        """The device that the network is on."""
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the network's parameters, in which it computes."""
        return dtype_of(self.module)

    # what the network does on its training examples

    @cached_property
    def logits(self) -> torch.Tensor:
        """(n, k) float64: the logits of the training examples. Raises NotComputable if one is not finite."""
        logits = self.logits_of(self.train)
        if not bool(logits.isfinite().all()):
            raise NotComputable("logits are not finite: the network has diverged")
        return logits

    @torch.no_grad()
    def logits_of(self, examples: Examples) -> torch.Tensor:
        """Return the logits (n, k) of examples, as float64."""
        blocks = [self.logits_in(self.module(inputs), len(inputs)) for inputs, _ in self.blocks(examples)]
        return torch.cat(blocks).double()

    @cached_property
    def losses(self) -> torch.Tensor:
        """(n,) float64: cross-entropies of the training examples in nats."""
        return F.cross_entropy(self.logits, self.labels, reduction="none")

    @property
    def error(self) -> float:
        """Share of the training examples, 0…1, that are not classified as labelled."""
        return float((self.logits.argmax(1) != self.labels).double().mean())

    @cached_property
    def margins(self) -> torch.Tensor:
        """(n,) float64: the label's logit minus the largest other one."""
        return margins_of(self.logits, self.labels)

    # layers

    @cached_property
    def layers(self) -> list[Layer]:
        """The linear layers and convolutions, in the order in which they compute; see `layers.record`. Raises NotComputable without one."""
        found = layers.record(self.module, self._first(1))
        if not found:
            raise NotComputable("the network has no linear layer and no convolution")
        return found

    @cached_property
    def folded(self) -> nn.Module:
        """The network with each batch normalization merged into the layer before it, and parametrizations replaced by their values.

        Raises NotComputable where a batch normalization does not follow a linear layer.
        """
        try:
            return layers.fold(layers.unparametrized(layers.copied(self.module)), self._first(16))
        except ValueError as error:
            raise NotComputable(str(error)) from None

    @cached_property
    def folded_layers(self) -> list[Layer]:
        """`layers` of the folded network. Raises NotComputable for weights that are not finite, or those of other kinds of layers."""
        found = layers.record(self.folded, self._first(1))
        self.check_weights()
        if not found:
            raise NotComputable("the network has no linear layer and no convolution")
        bad = [layer.name for layer in found if not bool(layer.weight.isfinite().all())]
        if bad:
            raise NotComputable(f"weights of {bad[0]} are not finite: the network has diverged")
        return found

    def weights(self) -> list[torch.Tensor]:
        """Return the weights of linear layers and convolutions with batch normalization folded into them, as float64, in their order.

        Biases and normalizations' own parameters are not among them.
        """
        return [layer.weight for layer in self.folded_layers]

    def check_weights(self) -> None:
        """Raise NotComputable for weights that norms of `layers` would leave out: of embeddings, say, or of layers that are not called."""
        bare = layers.unparametrized(layers.copied(self.module))
        foreign = layers.foreign_weight(bare)
        if foreign:
            raise NotComputable(f"weight {foreign} is not that of a linear layer, a convolution or a normalization")
        uncalled = layers.uncalled_weight(bare, self._first(1))
        if uncalled:
            raise NotComputable(f"weight {uncalled} is used without a call of its layer")

    @cached_property
    def factors(self) -> list[Layer]:
        """`folded_layers`, for products over them. Raises NotComputable where one is called repeatedly, so that it is several factors."""
        found, repeated = self.folded_layers, layers.repeated_layer(self.folded, self._first(1))
        if repeated is not None:
            raise NotComputable(f"layer {repeated} is called more than once, and a product over layers would have it as one factor")
        return found

    @cached_property
    def initial_layers(self) -> list[Layer]:
        """`layers` before training, unfolded. Raises NotComputable where nobody knows them."""
        return layers.record(self.initial, self._first(1))

    def _first(self, n: int) -> torch.Tensor:
        return self._cast(next(iter(self.train.in_order(0, min(n, self.n), n))))

    @property
    def features(self) -> torch.Tensor:
        """(n, h) float64 on the CPU: inputs of the last linear layer of the training examples, flattened."""
        return self.once(_features)

    def hidden(self, inputs: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (the input of a layer, logits) for inputs (b, …), joined by autograd.

        layer: its place in `layers`; 1 for the first hidden representation, -1 for the features.
        """
        hidden, output = layers.hidden(self.module, self.layers[layer].name, inputs)
        return hidden, self.logits_in(output, len(inputs))

    # shared work

    def once(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return the function's value of this model and the arguments, computed at the first call; also NotComputable is kept."""
        key = (function, *arguments)
        if key not in self._kept:
            try:
                self._kept[key] = function(self, *arguments)
            except NotComputable as error:
                self._kept[key] = error
        kept = self._kept[key]
        if isinstance(kept, NotComputable):
            raise NotComputable(*kept.args)
        return kept


def jvp(function: Callable, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    """Return (function(*primals), its derivative along tangents) as `torch.func.jvp` does.

    Attention is computed by the operations of which it is made, for torch's fused ones have no forward derivative. The first use of
    `torch.func.jvp` in a process would warn.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        import_module("torch._decomp.decompositions_for_jvp")
    was_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            return torch.func.jvp(function, primals, tangents)  # type: ignore[return-value]  # a third only with has_aux
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fast)


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the type of a module's first trainable parameter."""
    return next(p.dtype for p in module.parameters() if p.requires_grad)


def slope_in(inputs: torch.Tensor, value: torch.Tensor, *, keep: bool = False) -> torch.Tensor:
    """Return the derivative of a number in inputs of which it was computed. keep: more derivatives of the same evaluation follow.

    Raises NotComputable where autograd knows of no way from the inputs to it, which is not the same as a derivative of 0.
    """
    found = None
    if inputs.requires_grad and value.requires_grad:
        (found,) = torch.autograd.grad(value, inputs, retain_graph=keep, allow_unused=True)
    if found is None:
        raise NotComputable("the logits have no derivative in the inputs or hidden units: the network computes without gradients between")
    return found


def margins_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the label's logit minus the largest other one, (n,), for logits (n, k) and labels (n,)."""
    own = logits.gather(1, labels[:, None])
    others = logits.masked_fill(F.one_hot(labels, logits.shape[1]).bool(), -torch.inf)
    return own[:, 0] - others.amax(1)


@torch.no_grad()
def _features(fitted: Fitted) -> torch.Tensor:
    found = torch.cat([fitted.hidden(inputs, -1)[0].flatten(1).double().cpu() for inputs, _ in fitted.blocks()])
    if not found.shape[1]:
        raise NotComputable("the last layer has no input")
    return found


def count_logits(module: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> int:
    """Return how many logits a module in evaluation mode gives per example.

    Raises:
        InputError: for a module that gives no logits (b, k) for inputs (b, …), that calls layers with keywords, or whose evaluation
            depends on the batch; and for labels (n,) that are not in 0…k-1.
    """
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._NormBase) and part.running_mean is None and not isinstance(part, _PER_EXAMPLE):
            raise InputError(
                f"normalization {name or type(module).__name__} has no running statistics, "
                "expected one whose evaluation does not depend on the batch"
            )
    try:
        with torch.no_grad():
            output = module(inputs)
    except Exception as error:
        whole = "" if inputs.is_floating_point() else f" and type {str(inputs.dtype).removeprefix('torch.')}"
        remedy = "; whole numbers are handed on as they are: give floats, or prepare, which makes them" if whole else ""
        raise InputError(f"the module does not take inputs of shape {tuple(inputs.shape)}{whole}: {reason(error)}{remedy}") from error
    if (name := layers.keyword_call(module, inputs)) is not None:
        raise InputError(f"layer {name} is called with its input as a keyword, which measures do not see, expected a call such as layer(x)")
    own = taken(output)[0]
    is_one = isinstance(own, torch.Tensor) and (own.ndim == 1 or own.shape[1:] == (1,))  # one logit, for two classes
    k = Outputs(2 if is_one else 0, type(module).__name__).own(output, len(inputs)).shape[-1]
    k = 2 if is_one else k
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= k:
        raise InputError(f"labels range over {low}…{high}, expected 0…{k - 1}, as the module gives logits of {k} classes")
    return k
