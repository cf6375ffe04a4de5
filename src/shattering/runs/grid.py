"""`grid`: the specs of all combinations of values; and the reading of such values from the command line and from files."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

from shattering.errors import InputError, reason, shown, unknown
from shattering.learners import find_model
from shattering.learners.settings import Typed, settled, tells_kinds
from shattering.parameters import check, check_once, field_types, is_of, read, read_json, split_list
from shattering.randomization import Randomization
from shattering.runs.spec import RunSpec

_NOISE = tuple(f.name for f in fields(Randomization))
_IDLE_WITHOUT = {"label_mode": ("labels",), "permute_channels": ("pixels",), "noise_seed": ("labels", "pixels")}
_TYPES = {name: hint for name, hint in field_types(RunSpec).items() if name not in ("randomization", "params")} | field_types(Randomization)


def grid(axes: Mapping[str, object], params: Mapping[str, object] | None = None) -> list[RunSpec]:
    """Return the specs of all combinations; the last axis varies fastest.

    Args:
        axes: fields of `RunSpec` and `Randomization` → a value or a list of values.
        params: the same for the model's parameters. A value that is itself a list is written as a list in a list.

    Raises:
        InputError: for unknown fields, empty lists, repeated values in a list, values out of range, and fields that say how to
            randomize where neither labels nor pixels is given.

    Example:
        >>> from shattering import grid
        >>> len(grid({"labels": [0, 0.5, 1], "seed": range(3)}, {"epochs": 5}))
        9
    """
    check("axes", axes, Mapping[str, object])
    check("params", params, Mapping[str, object] | None)
    for name in axes:
        if name not in _TYPES:
            raise unknown("field of a sweep:", name, [*_TYPES, "set"], "a parameter of the model, which goes into params (in a file: set)")
    lists = {name: _listed(name, value) for name, value in axes.items()}
    settings = {name: _values(name, value) for name, value in (params or {}).items()}
    models = lists.get("model", [RunSpec.model])
    by_model = [_settings_of(model, settings) for model in models]
    specs = []
    for values in product(*lists.values(), *(range(len(of)) for of in settings.values())):
        fields_ = dict(zip(lists, values, strict=False))
        chosen = by_model[models.index(fields_.get("model", RunSpec.model))]
        numbers = values[len(lists) :]
        specs.append(_spec(fields_, {name: of[number] for (name, of), number in zip(chosen.items(), numbers, strict=True)}))
    _check_not_idle(lists)
    return specs


def _check_not_idle(lists: Mapping[str, list[Any]]) -> None:
    """Raise InputError for a field that says how to randomize, where the fields that say what to randomize are not given."""
    default = RunSpec(check=False)
    for name, needed in _IDLE_WITHOUT.items():
        unlike = [value for value in lists.get(name, ()) if value not in (getattr(default.randomization, name, None), None)]
        if unlike and not any(other in lists for other in needed):
            beside = " or ".join(needed)
            raise InputError(f"{name} is {shown(unlike[0])} without {beside}, expected {beside} beside it: alone it changes nothing")


def _listed(name: str, value: object) -> list[Any]:
    values = _values(name, value)
    check_once(name, values)
    return values


def _values(name: str, value: object) -> list[Any]:
    values = list(value) if isinstance(value, (list, range)) else [value]
    if not values:
        raise InputError(f"{name} is an empty list, expected at least one value")
    return values


def _settings_of(model: str, settings: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the values of a model's parameters, with typed texts converted."""
    estimator, out = find_model(model), {}
    for typed, values in settings.items():
        converted = [settled(estimator, {typed: value}, f"model {model!r}") for value in values]
        name = next(iter(converted[0]))
        if name in out:
            raise InputError(f"{name} is set twice, as {typed!r} too, expected once")
        out[name] = [one[name] for one in converted]
        check_once(name, [str(value) if isinstance(value, float) and tells_kinds(estimator, name) else value for value in out[name]])
    return out


def _spec(values: Mapping[str, Any], params: Mapping[str, object]) -> RunSpec:
    noise = {name: value for name, value in values.items() if name in _NOISE}
    rest = {name: value for name, value in values.items() if name not in _NOISE}
    return RunSpec(randomization=Randomization(**noise), params=params, **rest)


def read_grid(path: Path) -> list[RunSpec]:
    """Read the specs of a TOML or JSON file: the axes of one grid, or several as `grid = [{…}, …]`; parameters under `set`.

    Texts for fields that take other values than texts are read as on the command line: "none" is none. Raises InputError for a file that
    cannot be read or is empty, and as `grid` does.
    """
    data = _read_file(path)
    parts = data.get("grid", [data]) if isinstance(data, dict) else data
    if isinstance(data, dict) and "grid" in data and len(data) > 1:
        other = next(name for name in data if name != "grid")
        raise InputError(f"sweep file {path} has {shown(other)} beside grid, expected it within the tables of grid")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        wrong = next((part for part in parts if not isinstance(part, dict)), None) if isinstance(parts, list) else parts
        raise InputError(f"sweep file {path} holds {shown(wrong)}, expected a table of axes, or a list of such tables")
    specs: list[RunSpec] = []
    for part in parts:
        params = part.get("set", {})
        if not isinstance(params, dict):
            raise InputError(f"set in sweep file {path} is {shown(params)}, expected a table of the model's parameters")
        axes = {name: _read_texts(value, _TYPES.get(name, str), name) for name, value in part.items() if name != "set"}
        if not axes and not params:
            raise InputError(f"sweep file {path} has a table without a value, expected at least one axis in each, such as seed = [0, 1]")
        specs += grid(axes, {name: _typed(value) for name, value in params.items()})
    if not specs:
        raise InputError(f"sweep file {path} is an empty list, expected at least one table of axes")
    return specs


def _read_file(path: Path) -> Any:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no file" if path.exists() else "not there"
        raise InputError(f"sweep file {path} is {what}, expected a TOML or JSON file")
    form = "JSON" if path.suffix.lower() == ".json" else "TOML"
    try:
        text = path.read_bytes().decode()
        return read_json(text) if form == "JSON" else tomllib.loads(text)
    except UnicodeDecodeError:
        raise InputError(f"sweep file {path} is not readable, expected {form} in UTF-8") from None
    except RecursionError:
        raise InputError(f"sweep file {path} is not readable, expected {form} that is nested less deeply") from None
    except (OSError, ValueError) as error:
        raise InputError(f"sweep file {path} is not readable as {form}: {reason(error)}") from None


def _read_texts(value: object, hint: Any, name: str) -> object:
    """Convert the texts of a field in a file as on the command line, if the field takes no text."""
    if isinstance(value, list):
        return [_read_texts(one, hint, name) for one in value]
    return read(value, hint, name) if isinstance(value, str) and not is_of(value, hint) else value


def _typed(value: object) -> object:
    if isinstance(value, list):
        return [Typed(one) if isinstance(one, str) else one for one in value]
    return Typed(value) if isinstance(value, str) else value


def read_axis(name: str, text: str, flag: str) -> list[Any]:
    """Read the values of a field in a comma list of the command line. Raises InputError, which names `flag`, for anything else."""
    values = [read(part, _TYPES[name], flag) for part in split_list(text, flag)]
    check_once(flag, values)
    return values


def read_settings(settings: Sequence[str], lists: bool = False) -> dict[str, Any]:
    """Read `name=value` pairs into a mapping from names to `Typed` values; with lists, to lists of such values.

    Raises InputError for anything else, and a name that is given twice.
    """
    out: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not (name.strip() and equals):
            raise InputError(f"--set is {shown(setting)}, expected name=value")
        name = name.strip()
        if name in out:
            raise InputError(f"--set {name} is given twice, expected once" + (", with commas between its values" if lists else ""))
        out[name] = [Typed(part) for part in split_list(text, name)] if lists else Typed(text)
    return out
