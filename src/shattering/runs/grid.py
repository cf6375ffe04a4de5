"""`grid`: lists of values → the specs of all their combinations."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from itertools import product
from pathlib import Path

from shattering.errors import InputError, unknown
from shattering.randomization import Randomization
from shattering.runs.spec import RunSpec

_NOISE = tuple(f.name for f in fields(Randomization))
_AXES = (*(f.name for f in fields(RunSpec) if f.name not in ("randomization", "params")), *_NOISE)


def grid(axes: Mapping[str, object], params: Mapping[str, object] | None = None) -> list[RunSpec]:
    """The specs of all combinations, the last axis varying fastest.

    axes: fields of `RunSpec` and `Randomization` → a value or a list of values. params: the same for the
    learner's parameters. Raises InputError for unknown fields, empty lists, and values out of range.
    """
    for name in axes:
        if name not in _AXES:
            raise unknown("field of a sweep:", name, [*_AXES, "set"])
    named = [("field", k, v) for k, v in axes.items()] + [("param", k, v) for k, v in (params or {}).items()]
    lists = [v if isinstance(v, list) else [v] for _, _, v in named]
    for (_, name, _), values in zip(named, lists, strict=True):
        if not values:
            raise InputError(f"{name} is an empty list, expected at least one value")
    return [_spec([(kind, name, value) for (kind, name, _), value in zip(named, values, strict=True)]) for values in product(*lists)]


def _spec(values: list[tuple[str, str, object]]) -> RunSpec:
    params = {name: value for kind, name, value in values if kind == "param"}
    noise = {name: value for kind, name, value in values if kind == "field" and name in _NOISE}
    rest = {name: value for kind, name, value in values if kind == "field" and name not in _NOISE}
    return RunSpec(randomization=Randomization(**noise), params=params, **rest)  # type: ignore[arg-type]


def read_grid(path: Path) -> list[RunSpec]:
    """The specs of a TOML or JSON file: the axes of one grid, or several as `grid = [{…}, …]`; parameters under `set`.

    Raises InputError for a file that cannot be read, and as `grid` does.
    """
    try:
        data = json.loads(path.read_text()) if path.suffix == ".json" else tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"sweep file {path} is not readable: {error}") from None
    specs: list[RunSpec] = []
    for part in data.get("grid", [data]) if isinstance(data, dict) else data:
        if not isinstance(part, dict):
            raise InputError(f"sweep file {path} holds a {type(part).__name__}, expected tables of axes")
        axes = dict(part)
        params = axes.pop("set", {})
        specs += grid(axes, params)
    return specs


def parse_value(text: str) -> object:
    """A command-line value: JSON if it is that, "none" is null, "true"/"false" in any case, else the text itself."""
    if text.lower() in ("none", "true", "false"):
        return {"none": None, "true": True, "false": False}[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse_settings(settings: tuple[str, ...], lists: bool = False) -> dict[str, object]:
    """`name=value` pairs as a mapping; with lists, a value may be a comma list.

    Raises InputError for anything else.
    """
    out: dict[str, object] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not (name and equals):
            raise InputError(f"--set is {setting!r}, expected name=value")
        out[name.replace("-", "_")] = parse_list(text) if lists else parse_value(text)
    return out


def parse_list(text: str) -> list[object]:
    """A comma list of command-line values; brackets and braces keep their commas."""
    value = parse_value(text)
    return [value] if not isinstance(value, str) else [parse_value(part.strip()) for part in text.split(",")]
