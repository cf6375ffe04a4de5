"""Files of weights: to start from, and of fitted networks."""

import json
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from shattering.errors import InputError, a_type, reason
from shattering.identity.files import check_unchanged, files_digest
from shattering.system.files import write_aside

_AUXILIARY = "AuxLogits."
_MAY_BE_LEFT = (_AUXILIARY, "_feature_mean", "_feature_std")  # an auxiliary classifier, and what `NetworkClassifier.save` adds


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file (by its suffix) or of a torch state dict, which is read without running code from it.

    Raises InputError for a file that is not there, is not readable, or holds anything but tensors of finite numbers.

    Example:
        >>> torch.save(nn.Linear(4, 3).state_dict(), "weights.pt")
        >>> sorted(read_weights("weights.pt"))
        ['bias', 'weight']
    """
    path = _existing(path)
    try:
        read = safetensors.torch.load_file if path.suffix == ".safetensors" else load_plain
        tensors = read(path)
    except Exception as error:  # whatever a reader raises for what it cannot read
        raise InputError(f"weights {str(path)!r} are neither safetensors nor a torch state dict: {reason(error)}") from None
    check_unchanged(path)
    if not isinstance(tensors, dict) or not tensors:
        raise InputError(f"weights {str(path)!r} hold {a_type(tensors)}, expected names and tensors")
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise InputError(f"weights {str(path)!r} have {a_type(tensor)} at {name!r}, expected a tensor")
        if not torch.isfinite(tensor).all():
            raise InputError(f"tensor {name!r} of weights {str(path)!r} has values that are not finite, expected finite numbers")
    return tensors


def load_plain(path: Path) -> object:
    """Load tensors and plain values that `torch.save` wrote. No code of the file is run.

    Raises ValueError for anything else, in our words: torch's advise to run it.
    """
    if not path.is_file() or not path.stat().st_size:
        raise ValueError("it is empty" if path.is_file() else "it is no regular file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch raises for what it cannot read
        if "GLOBAL" in str(error) or "Unsupported class" in str(error):
            why = "it holds other objects than tensors and plain values, whose code is not run; expected torch.save(model.state_dict(), …)"
        elif "weights_only" in str(error) or isinstance(error, UnpicklingError):
            why = "it is damaged, or no file that torch.save wrote of a state dict"
        else:
            why = reason(error)
        raise ValueError(why) from None


def start_from(module: nn.Module, path: str | Path, n_classes: int) -> str:
    """Give a module the weights of a file, by name.

    Every tensor of the module has to be there, and no others but these: an auxiliary classifier that the module does not
    have ("AuxLogits."), and what `NetworkClassifier.save` adds. The last linear layer with an output for each class, and that of an
    auxiliary classifier, keep their initialization if the file's are for another number of classes. Weights that layers share need one
    of their names. Counters of batches, which old files lack, may be missing.

    Returns a sentence on each layer that has kept its initialization, or nothing.

    Raises InputError, before anything is changed, for a file or tensors that do not fit.

    Example:
        >>> trained, network = nn.Linear(4, 3), nn.Linear(4, 3)
        >>> torch.save(trained.state_dict(), "weights.pt")
        >>> start_from(network, "weights.pt", n_classes=3)
        ''
        >>> torch.equal(network.weight, trained.weight)
        True
    """
    own, found = module.state_dict(), read_weights(path)
    found = {name: tensor for name, tensor in found.items() if name in own or not name.startswith(_MAY_BE_LEFT)}
    kept = [note for name in _classifying(module, n_classes) if (note := _keep_if_other_classes(name, own, found))]
    for name, tensor in own.items():  # of weights that layers share, a file may have one name
        shared = next((other for other in found if other in own and _is_same(own[other], tensor)), None)
        if name not in found and shared is not None:
            found[name] = found[shared]
    counters = {name for name in own if name.endswith(".num_batches_tracked")}
    for name in [*own, *found]:
        if name not in own or (name not in found and name not in counters):
            what = "lack tensor" if name in own else "have tensor"
            raise InputError(f"weights {str(path)!r} {what} {name!r}, expected the {len(own)} tensors of the network")
        if name in found and found[name].shape != own[name].shape:
            shapes = f"has shape {tuple(found[name].shape)}, expected {tuple(own[name].shape)}"
            raise InputError(f"tensor {name!r} of weights {str(path)!r} {shapes}")
    module.load_state_dict(own | found)
    return " ".join(kept)


def _classifying(module: nn.Module, n_classes: int) -> list[str]:
    """Return the names of the last linear layers with an output for each class: that of the module, and of an auxiliary classifier."""
    linear = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear) and layer.out_features == n_classes]
    auxiliary = [name for name in linear if name.startswith(_AUXILIARY)]
    return [*[name for name in linear if name not in auxiliary][-1:], *auxiliary[-1:]]


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape and one.stride() == other.stride()


def _keep_if_other_classes(layer: str, own: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> str:
    """Put a linear layer's own tensors in place of those found, if these differ in the number of outputs alone, and return a sentence."""
    names = [name for name in (f"{layer}.weight", f"{layer}.bias") if name in own and name in found]
    shapes = [(found[name].shape, own[name].shape) for name in names]
    others = [(len(found[name]), len(own[name])) for name, (theirs, ours) in zip(names, shapes, strict=True) if theirs != ours]
    if not others or any(theirs[1:] != ours[1:] or len(theirs) != len(ours) for theirs, ours in shapes):
        return ""
    found |= {name: own[name] for name in names}
    return f"The layer {layer!r} keeps its initialization: the weights have {others[0][0]:,} outputs there, not {others[0][1]:,}."


def file_identity(path: str | Path) -> str:
    """Return what identifies a file in a run: the digest of its content, wherever it lies. Raises InputError if it is not there."""
    return f"sha256:{files_digest(_existing(path))}"


def _existing(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise InputError(f"weights {str(path)!r} is no file, expected a safetensors file or a torch state dict")
    return Path(path)


def save_fitted(path: str | Path, tensors: dict[str, torch.Tensor], meta: dict) -> None:
    """Write the tensors of a fitted network, and what else it needs, as safetensors. Raises OSError if that fails."""
    plain, kept = {}, set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        plain[name] = tensor.clone() if memory in kept else tensor  # of weights that layers share, as safetensors wants each by itself
        kept.add(memory)
    try:
        write_aside(Path(path), lambda aside: safetensors.torch.save_file(plain, aside, {"shattering": json.dumps(meta)}))
    except safetensors.SafetensorError as error:  # as it tells what the system has said
        raise OSError(f"{path} cannot be written: {reason(error)}") from None


def unstored(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors and arrays of a module that its state dict does not have, on the CPU: attributes, buffers that do not persist."""
    found = {}
    for path, layer in module.named_modules():
        values = {name: layer._buffers.get(name) for name in layer._non_persistent_buffers_set} | vars(layer)
        for name, value in values.items():
            if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
                value = torch.tensor(value)
            if isinstance(value, torch.Tensor):
                found[f"{path}.{name}".removeprefix(".")] = value.detach().cpu()
    return found


class NotSaved(InputError):
    """A file that can be read and is not what `save_fitted` wrote. The reason is its cause's."""


def load_fitted(path: str | Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Load what `save_fitted` wrote. Raises InputError for what cannot be read, and `NotSaved` for anything else."""
    if not Path(path).is_file():
        raise InputError(f"{path} is no file, expected a model that `save` wrote")
    try:
        with safetensors.safe_open(path, "pt") as file:
            meta = json.loads((file.metadata() or {})["shattering"])
            return {name: file.get_tensor(name) for name in file.keys()}, meta  # noqa: SIM118
    except Exception as error:  # whatever the reader raises for what it cannot read
        kind = InputError if isinstance(error, OSError) else NotSaved
        raise kind(f"{path} is not a model that `save` wrote: {reason(error)}") from error
