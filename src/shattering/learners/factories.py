"""Torch modules that users hand over as a class, a function or an instance → a factory that a `NetworkClassifier` calls for every fit."""

import inspect
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import ClassVar, Literal, get_args

import torch
from torch import nn

from shattering import seeds
from shattering.errors import InputError, a_type, reason, unknown
from shattering.identity.pieces import Described, Part
from shattering.networks.forward import lazy_names

Start = Literal["reinitialized", "given"]
SIZES = {  # what a parameter of a factory gets, by its name
    "image_shape": ("image_shape", "input_shape", "in_shape", "shape"),  # of one example
    "n_classes": (
        "n_classes",
        "num_classes",
        "n_outputs",
        "num_outputs",
        "n_labels",
        "num_labels",
        "out_features",
        "output_dim",
        "out_dim",
    ),
    "features": ("in_features", "n_features", "num_features", "n_inputs", "num_inputs", "input_dim", "in_dim"),  # numbers in one example
    "length": ("length", "seq_len", "sequence_length", "max_len", "max_length"),  # of a sequence or document
    "vocabulary": ("vocabulary", "vocab_size", "vocabulary_size", "n_tokens", "num_tokens", "num_embeddings"),  # number of token ids
    "channels": ("in_channels", "n_channels", "num_channels", "in_chans"),
}
_OF_LIGHTNING = ("training_step", "configure_optimizers")
_RESETS = ("reset_parameters", "_reset_parameters")  # the second is what torch's own attention and transformers have


def required_parameters(function: Callable) -> list[str]:
    """Return the names of the parameters that have to be given."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty and p.kind not in kinds]


class ModuleFactory:
    """A factory (image_shape, n_classes) → module from a class or function.

    What it needs is given by the names of its parameters, see `SIZES`: nothing, or any of them. Two parameters whose names do not say
    otherwise are (image_shape, n_classes).

    Raises InputError for a parameter that has to be given and has another name.
    """

    def __init__(self, make: Callable):
        name, required = getattr(make, "__qualname__", type(make).__name__), required_parameters(make)
        if not takes_shape_and_classes(required) and (others := [one for one in required if not size_of(one)]):
            raise InputError(
                f"{name} takes {', '.join(required)}; expected nothing that has to be given but sizes, {remedy(name, others[0])}"
            )
        self.make = make
        self.takes_sizes = bool(required)
        self.__qualname__ = name

    def __call__(self, image_shape: tuple[int, ...], n_classes: int, vocabulary: int | None = None) -> nn.Module:
        if not self.takes_sizes:
            return self.make()
        required = required_parameters(self.make)
        if takes_shape_and_classes(required):
            return self.make(image_shape, n_classes)
        values = {"image_shape": image_shape, "n_classes": n_classes, "features": math.prod(image_shape), "channels": image_shape[0]}
        values |= {"length": image_shape[-1], "vocabulary": vocabulary}
        for name in required:
            if values[size_of(name)] is None:
                raise InputError(f"{self.__qualname__} takes {name}, which inputs other than tokens do not have, expected kind='tokens'")
        return self.make(**{name: values[size_of(name)] for name in required})


def size_of(name: str) -> str:
    """Return which of `SIZES` a parameter of this name gets; empty for another name."""
    return next((size for size, names in SIZES.items() if name in names), "")


def takes_shape_and_classes(required: list[str]) -> bool:
    """Return whether the parameters are two that stand for (image_shape, n_classes): their names say so, or say nothing else."""
    return [size_of(name) for name in required] in (["image_shape", "n_classes"], ["image_shape", ""], ["", ""])


def remedy(name: str, other: str) -> str:
    """Return the end of a message: how a function or class of this name, with the parameter `other` that is no size, can be given."""
    return (
        f"such as lambda image_shape, n_classes: {name.rpartition('.')[2]}({other}=…), or parameters named {', '.join(map(_first, SIZES))}"
    )


def _first(size: str) -> str:
    return SIZES[size][0]


class OfInstance(Described):
    """Base of factories that copy a module.

    Raises InputError for a module that cannot be copied.
    """

    start: ClassVar[Start]

    def __init__(self, module: nn.Module):
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(
                f"the module is TorchScript ({type(module).__name__}), whose copies compute with its own weights, expected the module "
                "before torch.jit, its class, or a function that makes it"
            )
        check_values(module)
        try:
            deepcopy(module)
        except Exception as error:  # whatever its layers raise
            name, why = type(module).__name__, "it has lazy layers without sizes" if lazy_names(module) else reason(error)
            raise InputError(f"the {name} cannot be copied ({why}), expected its class, or a function that makes it") from None
        self.module = module
        self.__qualname__ = type(module).__name__

    @property
    @abstractmethod
    def sentence(self) -> str:
        """One sentence for the reader of the result: it says what every fit starts from."""

    @abstractmethod
    def __call__(self, image_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        """Return a module of its own for a fit."""

    def _copy(self) -> nn.Module:
        """Return a copy on the CPU, so that layers which draw their weights draw the same ones on every machine."""
        return deepcopy(self.module).cpu()

    def _frozen(self, what: str) -> str:
        """Return a sentence about parameters that are not trained, if there are some."""
        frozen = [name for name, parameter in self.module.named_parameters() if not parameter.requires_grad]
        of = sum(1 for _ in self.module.parameters())
        return f" {len(frozen)} of its {of} parameters (such as {frozen[0]}) {what}, as requires_grad=False says." if frozen else ""


class Given(OfInstance):
    """A factory that copies a module with its weights: every fit starts from the same ones."""

    start = "given"

    def __init__(self, module: nn.Module):
        super().__init__(module)
        if lazy := lazy_names(module):
            raise InputError(f"start is 'given' beside a module whose {lazy[0]} has no values yet, expected one that has seen an input")

    def described(self) -> Part:
        return Part(self.module, context="trained")

    @property
    def sentence(self) -> str:
        name = self.__qualname__
        return (
            f"Every fit, of the data and of each randomized copy, was fine-tuned from the weights that the {name} was given with; "
            f'start="reinitialized" draws them anew.{self._frozen("stayed as given")}'
        )

    def __call__(self, image_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        return self._copy()


class Reinitialized(OfInstance):
    """A factory that copies a module and has its layers initialize themselves anew, each layer after those that it consists of.

    Parameters that are not trained (requires_grad=False) keep the values that they were given with, and so do the buffers of layers
    all of whose parameters are frozen: whoever froze them meant these values.

    Raises InputError for a module with a parameter that no layer initializes.
    """

    start = "reinitialized"

    def __init__(self, module: nn.Module):
        super().__init__(module)
        self._check()

    def described(self) -> Part:
        with seeds.of_torch(0):
            return Part(self((), 0), context="drawn")

    @property
    def sentence(self) -> str:
        name = self.__qualname__
        return (
            f"Every fit starts from a {name} that is re-initialized by the reset_parameters of its layers. The weights that it was given "
            'with were not used (start="given" fine-tunes from them), nor was an initialization that its constructor may have made '
            f"(give the class, or a function that makes the {name}, to have that)."
            f"{self._frozen('kept the values that they were given with')}"
        )

    def __call__(self, image_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        copy = self._copy()
        _reinitialize(copy)
        return copy

    def _check(self) -> None:
        """Raise InputError if something of the module would keep the weights that it was given with."""
        copy = self._copy()
        for layer in copy.modules():
            own = [name for name, buffer in layer.named_buffers(recurse=False) if buffer.is_floating_point()]
            if own and _reset_of(layer) is None and not _is_frozen(layer):
                raise self._error(copy, layer, own[0])
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for parameter in _trained(copy).values():
                parameter.fill_(torch.nan)
            try:
                _reinitialize(copy)
            except Exception as error:  # whatever a user's layer raises
                raise InputError(f"reset_parameters of the {self.__qualname__} raised {reason(error)}, {_ANEW}") from None
            for name, parameter in _trained(copy).items():
                if bool(parameter.isnan().any()):
                    raise self._error(copy, copy.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2])

    def _error(self, module: nn.Module, layer: nn.Module, name: str) -> InputError:
        where = next(path for path, one in module.named_modules() if one is layer) or "itself"
        what = "has no reset_parameters, so it" if _reset_of(layer) is None else f"leaves {name} as it is in reset_parameters, so it"
        return InputError(f"layer {where} ({type(layer).__name__}) of the module {what} cannot be initialized anew; {_ANEW}")


_ANEW = 'expected start="given" to fine-tune from the weights that it has, or the module\'s class, or a function that makes it'


def own_training(module: nn.Module) -> str:
    """Return a sentence about a module's own methods of training, as those of Lightning have, which are not used; or nothing."""
    libraries = ("lightning", "pytorch_lightning")
    own = [cls for cls in type(module).__mro__ if cls.__module__.partition(".")[0] not in libraries]
    names = [name for name in _OF_LIGHTNING if any(name in vars(cls) for cls in own)]
    if not names:
        return ""
    what = type(module).__name__
    return (
        f"The {' and '.join(names)} of {what} were not used: its forward was trained, with the optimizer and the loss of the "
        "hyperparameters. To train it by its own, give a training function (split, seed) → predict."
    )


def check_values(module: nn.Module) -> None:
    """Raise InputError for a parameter or buffer on the meta device."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    if empty := [name for name, tensor in tensors if tensor.is_meta and not torch.nn.parameter.is_lazy(tensor)]:
        raise InputError(
            f"{empty[0]} of {type(module).__name__} is on the meta device, where tensors have no values, expected a module that is made "
            'without device="meta"'
        )


def check_trainable(module: nn.Module) -> None:
    """Raise InputError for a module whose tensors have no values, are complex, or whose state is more than tensors."""
    check_values(module)
    name = type(module).__name__
    if complex_ones := [key for key, parameter in module.named_parameters() if parameter.requires_grad and parameter.is_complex()]:
        raise InputError(
            f"{complex_ones[0]} of {name} is complex, expected real parameters: torch.view_as_complex makes complex ones of these"
        )
    if others := [(key, value) for key, value in module.state_dict().items() if not isinstance(value, torch.Tensor)]:
        key, value = others[0]
        raise InputError(
            f"state_dict of {name} has {a_type(value)} at {key!r}, which is not stored with the weights, expected tensors alone: "
            "without get_extra_state, or with register_buffer for what has to be kept"
        )


def of_instance(module: nn.Module, start: str | None) -> OfInstance:
    """Return the factory that copies a module. start: None is "reinitialized". Raises InputError for another one."""
    if start not in (None, *get_args(Start)):
        raise unknown("start", start, get_args(Start))
    return Given(module) if start == "given" else Reinitialized(module)


def _trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are trained, of those that have values already."""
    lazy = torch.nn.parameter.is_lazy
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad and not lazy(parameter)}


def _is_frozen(layer: nn.Module) -> bool:
    """Return whether a layer has parameters of its own, none of which is trained."""
    own = list(layer.parameters(recurse=False))
    return bool(own) and not any(parameter.requires_grad for parameter in own)


def _reset_of(layer: nn.Module) -> Callable[[], object] | None:
    return next((getattr(layer, name) for name in _RESETS if callable(getattr(type(layer), name, None))), None)


def _bottom_up(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers, each after those that it consists of, as constructors make them."""
    for child in module.children():
        yield from _bottom_up(child)
    yield module


def _reinitialize(module: nn.Module) -> None:
    frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
    frozen += [buffer for layer in module.modules() if _is_frozen(layer) for buffer in layer.buffers(recurse=False)]
    kept = [(tensor, tensor.detach().clone()) for tensor in frozen]
    done: set[int] = set()
    for layer in _bottom_up(module):
        reset = _reset_of(layer)
        if reset is not None and id(layer) not in done and not _is_frozen(layer):
            reset()
        done.add(id(layer))
    with torch.no_grad():
        for tensor, value in kept:
            tensor.copy_(value)
