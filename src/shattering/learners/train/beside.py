"""`Beside`: what a network's code keeps and draws from beside its state dict, for a resumed training to go on with."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from shattering import seeds

_PLAIN = (bool, int, float, str, type(None))
_MODULES = frozenset(vars(nn.Module()))  # what every module has, such as `training`


class Beside:
    """A `Beside` keeps what the code of a network and of a loss changes in training where no state dict has it.

    These are the global generators of Python and NumPy, generators of their own, tensors and arrays in attributes, buffers, which may not
    persist, and numbers and texts in attributes that are not what they were. Attributes in lists and other containers, and those of
    TorchScript, are not seen.

    Args:
        network: the module that is trained.
        loss: the user's; None, or a function, keeps nothing.
        notes: sentences that were noted so far, in a list that is added to.

    Example:
        >>> layer, other = nn.Dropout(), nn.Dropout()
        >>> beside = Beside(layer)
        >>> layer.calls = 7
        >>> Beside(other).restore(beside.state())
        >>> other.calls
        7
    """

    def __init__(self, network: nn.Module, loss: Any = None, notes: list[str] | None = None):
        self.modules = {"network": network} | ({"loss": loss} if isinstance(loss, nn.Module) else {})
        self.notes = [] if notes is None else notes
        self.device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
        self.first = {place: {n: v for n, v in values.items() if type(v) in _PLAIN} for place, values in self._places()}

    def state(self) -> dict:
        """Return what a checkpoint keeps; `restore` reads it."""
        generators = {"python": random.getstate(), "numpy": _listed(np.random.get_state(legacy=False))}  # noqa: NPY002
        attributes = {}
        for place, values in self._places():
            changed = {name: value for name, value in values.items() if not self._is_as_before(place, name, value)}
            attributes[place] = {name: known for name, value in changed.items() if (known := _kept(value)) is not None}
        return {"generators": generators, "attributes": attributes, "notes": list(self.notes)}

    def restore(self, state: dict) -> None:
        """Go on from the state of another training."""
        random.setstate(state["generators"]["python"])
        np.random.set_state(state["generators"]["numpy"])  # noqa: NPY002
        for place, values in self._places():
            for name, known in state["attributes"].get(place, {}).items():
                self._put_back(values, name, *known)
        self.notes[:] = state["notes"]

    def _is_as_before(self, place: str, name: str, value: Any) -> bool:
        first = self.first.get(place, {}).get(name, self)  # of no plain type where there was none
        return name in _MODULES or (type(value) is type(first) and value == first)

    def _places(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the places of attributes and buffers: a name, and the values by name, which may be set."""
        for whose, module in self.modules.items():
            for path, layer in module.named_modules():
                if not isinstance(layer, torch.jit.ScriptModule):
                    yield f"{whose}/{path}", vars(layer)
                    yield f"{whose}/{path}/buffers", layer._buffers

    def _put_back(self, values: dict[str, Any], name: str, kind: str, known: Any) -> None:
        present = values.get(name)
        if kind in ("tensor", "array"):
            values[name] = self._tensor(present, known) if kind == "tensor" else known.numpy().copy()
        elif kind == "plain":
            values[name] = known
        elif seeds.state_of(present) is not None:
            seeds.put_state(present, known)

    def _tensor(self, present: Any, known: torch.Tensor) -> torch.Tensor:
        """Return a tensor where it belongs; the present one, which others may hold, too, with these values, if it can have them."""
        if isinstance(present, torch.Tensor) and (present.shape, present.dtype) == (known.shape, known.dtype) and not present.requires_grad:
            return present.copy_(known)
        return known.to(present.device if isinstance(present, torch.Tensor) else self.device)


def _kept(value: Any) -> tuple[str, Any] | None:
    """Return (kind, value) as a checkpoint can hold it; None for a value that it cannot hold."""
    if type(value) in _PLAIN:
        return "plain", value
    if type(value) is torch.Tensor:
        return "tensor", value.detach()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return "array", torch.tensor(value)
    state = seeds.state_of(value)
    return None if state is None else ("generator", _listed(state))


def _listed(state: Any) -> Any:
    """Return the state of a generator of NumPy's with lists for its arrays, which a checkpoint cannot hold."""
    if isinstance(state, dict):
        return {name: _listed(value) for name, value in state.items()}
    return state.tolist() if isinstance(state, (np.ndarray, np.generic)) else state
