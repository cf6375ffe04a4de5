"""Network architectures: name → constructor (image_shape, n_classes) → module."""

import inspect
import re
from collections.abc import Callable
from functools import partial
from weakref import WeakValueDictionary

import torch
from torch import nn
from torch.nn import functional as F

from shattering import seeds
from shattering.errors import InputError, no_target, reason, shown, unknown
from shattering.networks.alexnet import alexnet, small_cnn
from shattering.networks.forward import give_sizes
from shattering.networks.inception import inception, inception_without_batch_norm
from shattering.networks.inception_v3 import inception_v3
from shattering.networks.mlp import mlp, mlp_1x512, mlp_3x512

Factory = Callable[[tuple[int, ...], int], nn.Module]
BatchNorm = nn.modules.batchnorm._BatchNorm  # private: the only class that all batch normalizations of torch share
Dropout = nn.modules.dropout._DropoutNd  # private: likewise of its dropouts

NETWORKS: dict[str, Factory] = {
    "inception": inception,
    "inception-no-bn": inception_without_batch_norm,
    "inception-v3": inception_v3,
    "alexnet": alexnet,
    "mlp-3x512": mlp_3x512,
    "mlp-1x512": mlp_1x512,
    "small-cnn": small_cnn,
}
_INITIAL_LEARNING_RATES = {"inception": 0.1, "inception-no-bn": 0.1, "inception-v3": 0.045}  # 0.01 for the others
_WITH_AUXILIARY = ("inception-v3",)
# the others take rows of tables too
_IMAGES_ALONE = ("inception", "inception-no-bn", "inception-v3", "alexnet", "small-cnn")
_CNN = re.compile(r"small-cnn-([1-9]\d{0,3})")
CIFAR_SHAPE = (3, 28, 28)
IMAGENET_SHAPE = (3, 299, 299)


def find_network(name: str) -> Factory:
    """Return the constructor of a name in `NETWORKS`, of "mlp-LxU" (L hidden layers of U units) or of "small-cnn-W" (W channels).

    Raises InputError for another name.

    Example:
        >>> network = find_network("mlp-2x16")((1, 8, 8), 10)
        >>> network(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """
    if name in NETWORKS:
        return NETWORKS[name]
    if sizes := re.fullmatch(r"mlp-([1-9]\d{0,2})x([1-9]\d{0,5})", name):
        layers, units = map(int, sizes.groups())
        return partial(mlp, hidden=(units,) * layers)
    if width := _CNN.fullmatch(name):
        return partial(small_cnn, width=int(width[1]))
    if ":" in name:
        raise no_target("network", name)
    raise unknown("network", name, [*NETWORKS, "mlp-LxU (L hidden layers of U units)", "small-cnn-W (W channels in the first layers)"])


def is_network(name: str) -> bool:
    """Return whether `find_network` knows a name."""
    try:
        find_network(name)
    except InputError:
        return False
    return True


def initial_learning_rate(network: str | Factory) -> float:
    """Return the papers' initial learning rate for a network: 0.1 for the small Inceptions, 0.045 for Inception V3, 0.01 otherwise.

    ICLR 2017, appendix A; for Inception V3, where it refers to TensorFlow's package, the rate of that package's distributed
    training and of Szegedy et al. (2016), section 8. Theirs is RMSProp with an epsilon of 1, which divides gradients by
    about 1 and so is about SGD with momentum.
    """
    return _INITIAL_LEARNING_RATES.get(network, 0.01) if isinstance(network, str) else 0.01


def build_network(
    network: str | Factory,
    image_shape: tuple[int, ...],
    n_classes: int,
    seed: int,
    auxiliary: bool = False,
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """Return a freshly initialized network; the global generators are left as they were.

    network: a name that `find_network` knows, or a factory (image_shape, n_classes) → module with n_classes outputs.
    auxiliary: whether it has an auxiliary classifier, whose logits it gives beside its own in training mode: (logits,
    auxiliary logits). Of the names, "inception-v3" can; whether a factory does is its own business. dtype: of its inputs. Lazy layers
    get their sizes. Raises InputError for an unknown name, a network that images of this shape do not fit, a module in the place of a
    factory, and a factory that takes other arguments, or gives the same weights again, or something else than a module.

    Example:
        >>> network = build_network("mlp-1x512", (3, 28, 28), 10, seed=0)
        >>> count_parameters(network)
        1209866
    """
    factory = find_network(network) if isinstance(network, str) else network
    if auxiliary and isinstance(network, str):
        check_auxiliary(network)
        factory = partial(factory, auxiliary=True)  # type: ignore[call-arg]  # "inception-v3" takes it
    if len(image_shape) != 3 and isinstance(network, str) and (network in _IMAGES_ALONE or _CNN.fullmatch(network)):
        raise InputError(f"network {network!r} got examples of shape {image_shape}, expected images (channels, height, width)")
    _check_takes_both(factory, image_shape, n_classes)
    with seeds.of_torch(seed):
        try:
            module = factory(image_shape, n_classes)
        except TypeError as error:  # as of layers that get a shape in the place of a number
            such_as = f": lambda image_shape, n_classes: {name_of(network)}(…)" if name_of(network).isidentifier() else ""
            raise InputError(
                f"{name_of(network)} raised {reason(error)!r} for the image shape {image_shape} and {n_classes} classes, expected a "
                f"factory of these two{such_as}"
            ) from error
        if not isinstance(module, nn.Module):
            raise InputError(f"{name_of(network)} gave {shown(module)}, expected a torch module")
        give_sizes(module, torch.zeros(1, *image_shape, dtype=dtype), type(module).__name__)
    _check_new(module, network)
    return module


def _check_takes_both(factory: Factory, image_shape: tuple[int, ...], n_classes: int) -> None:
    """Raise InputError for a module in the place of a factory, and for a function that cannot be called with both arguments."""
    wanted = "expected a factory (image_shape, n_classes) → module, which makes a new one at every call"
    if isinstance(factory, nn.Module):
        raise InputError(f"network is a module, {type(factory).__name__}; {wanted}")
    try:
        inspect.signature(factory).bind(image_shape, n_classes)
    except TypeError as error:
        raise InputError(f"{name_of(factory)} cannot be called with an image shape and a number of classes ({error}); {wanted}") from None
    except ValueError:  # it has no signature
        return


_trained: WeakValueDictionary[int, nn.Parameter] = WeakValueDictionary()  # by id: those of all networks made so far that are still there


def _check_new(module: nn.Module, network: str | Factory) -> None:
    """Raise InputError for a module with weights of one made before, which one fit would train on from another."""
    own = {id(p): p for p in module.parameters() if p.requires_grad}
    if any(_trained.get(key) is p for key, p in own.items()):
        raise InputError(
            f"{name_of(network)} gave a module with weights that it had given before, expected new ones at every call, or frozen ones"
        )
    _trained.update(own)


def name_of(network: str | Factory) -> str:
    """Return what messages call a network: its name, or that of its factory."""
    while isinstance(network, partial):
        network = network.func
    return network if isinstance(network, str) else getattr(network, "__qualname__", type(network).__name__)


def check_auxiliary(name: str) -> None:
    """Raise InputError for the name of a network that has no auxiliary classifier."""
    if name not in _WITH_AUXILIARY:
        raise InputError(f"auxiliary needs a network with an auxiliary classifier, found {name!r}, expected {_WITH_AUXILIARY[0]!r}")


def add_dropout(module: nn.Module, rate: float) -> None:
    """Drop inputs of every linear layer, but for the network's first layer, at this rate while training.

    Raises InputError for a network without such a layer.
    """
    layers = [m for m in module.modules() if any(p.requires_grad for p in m.parameters(recurse=False))]
    linear = [m for m in layers[1:] if isinstance(m, nn.Linear)]
    if not linear:
        raise InputError("dropout needs a linear layer behind another layer, and the network has none")
    for layer in linear:
        layer.register_forward_pre_hook(lambda layer, inputs: F.dropout(inputs[0], rate, layer.training))


def reference_shape(network: str) -> tuple[tuple[int, int, int], int]:
    """Return (image shape, number of classes) of the papers' data for a network: ImageNet's for Inception V3, else CIFAR-10's."""
    return (IMAGENET_SHAPE, 1000) if network == "inception-v3" else (CIFAR_SHAPE, 10)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable scalars."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
