"""A module imports only from modules above it, file by file: imports for type checkers and within functions count."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import shattering

ROOT = Path(shattering.__file__).parent
ROOMS = [  # from the ground up: a room imports from those before it
    *("version", "errors", "parameters", "system", "identity", "stats", "seeds"),
    *("data", "randomization", "networks", "linalg", "features", "relu", "models", "measures"),
    *("runs", "report", "diagnose", "compare", "experiments", "cli", "__main__"),
]


def name_of(path: Path, root: Path) -> str:
    """The dotted name of a module below the package, "" for the package itself."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


def import_graph(root: Path) -> dict[str, set[str]]:
    """Each module of the package in a folder, and the modules of it that the module imports, wherever it does."""
    modules = {name_of(path, root): path for path in root.rglob("*.py")}
    return {name: imported(path, set(modules)) - {name} for name, path in modules.items()}


def imported(path: Path, modules: set[str]) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
            names.add(str(node.module))
    ours = {name.removeprefix("shattering").removeprefix(".") for name in names if name.split(".")[0] == "shattering"}
    inner = {name for name in ours & modules if name}
    return inner or ({""} if "" in ours else set())


def circle(graph: dict[str, set[str]]) -> list[str] | None:
    """The modules of a circle; None if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_imports_point_upwards():
    for name, others in import_graph(ROOT).items():
        for other in others if name else ():
            mine, room = name.split(".")[0], other.split(".")[0]
            assert room in ROOMS[: ROOMS.index(mine) + 1], f"{name} imports {other or 'the package itself'}"


def test_no_module_imports_itself_through_others():
    assert circle(import_graph(ROOT)) is None


@pytest.mark.parametrize(
    "text",
    ["from shattering.room.b import y", "def f():\n    from shattering.room import b", "if TYPE_CHECKING:\n    import shattering.room.b"],
)
def test_a_planted_circle_inside_a_package_is_found(tmp_path, text):
    room = tmp_path / "room"
    room.mkdir()
    (tmp_path / "__init__.py").touch()
    (room / "__init__.py").touch()
    (room / "a.py").write_text("x = 1\n")
    (room / "b.py").write_text("from shattering.room.a import x\n")
    assert circle(import_graph(tmp_path)) is None
    (room / "a.py").write_text(text)
    assert set(circle(import_graph(tmp_path)) or ()) == {"room.a", "room.b"}


def test_public_names_exist_and_are_lazy():
    for name in shattering.__all__:
        assert getattr(shattering, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = shattering.nonsense
