"""What pip installs: every import is of a package that pyproject.toml names, and what it says of the package is true."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import shattering

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DISTRIBUTIONS = {  # package → what brings it, where the names differ
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "vl_convert": "vl-convert-python",
    "mlflow": "mlflow-skinny",
    "scipy": "scikit-learn",
    "joblib": "scikit-learn",
    "markupsafe": "jinja2",
    "IPython": "ipython",
}
THEIRS = {"ipython", "skorch", "datasets", "lightgbm", "pytest"}  # looked for only where a user has it


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=;\s]", requirement)[0].lower() for requirement in requirements}


CORE = names(PROJECT["dependencies"])
OPTIONAL = {name for extra, of in EXTRAS.items() if extra not in ("dev", "benchmarks") for name in names(of)}


def imports(node: ast.AST, later: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield the packages that a module imports, and whether only later: when a function is called, or where there is one."""
    if isinstance(node, ast.Import):
        yield from ((alias.name.split(".")[0], later) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield str(node.module).split(".")[0], later
    for part in ast.iter_child_nodes(node):
        yield from imports(part, later or isinstance(node, (ast.FunctionDef, ast.Try, ast.If)))


@pytest.fixture(scope="module")
def imported() -> dict[bool, dict[str, Path]]:
    """Maps from the distributions of others that are imported later (True) or always (False) to a file that imports them."""
    found: dict[bool, dict[str, Path]] = {True: {}, False: {}}
    for path in (ROOT / "src" / "shattering").rglob("*.py"):
        for package, later in imports(ast.parse(path.read_text())):
            if package not in sys.stdlib_module_names | {"shattering"}:
                found[later][DISTRIBUTIONS.get(package, package).replace("_", "-")] = path
    return found


def test_what_is_always_imported_is_installed_without_extras(imported):
    found = imported[False]
    assert {name: path for name, path in found.items() if name not in CORE} == {}
    assert {"torch", "pandas", "altair"} <= found.keys()


def test_what_is_imported_later_is_installed_or_in_an_extra(imported):
    found = imported[True]
    assert {name: path for name, path in found.items() if name not in CORE | OPTIONAL | THEIRS} == {}
    assert {"vl-convert-python", "huggingface-hub"} <= found.keys()


def test_every_dependency_is_imported(imported):
    assert CORE - imported[False].keys() - imported[True].keys() == set()


def test_what_is_said_of_the_package():
    assert {"Typing :: Typed", "Operating System :: OS Independent"} <= set(PROJECT["classifiers"])
    least = PROJECT["requires-python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {least}" in PROJECT["classifiers"]
    assert (ROOT / "src" / "shattering" / "py.typed").exists()
    assert PROJECT["version"] == shattering.__version__
    for pattern in PROJECT["license-files"]:
        assert (ROOT / pattern).stat().st_size > 0
    licenses = set(re.findall(r"^[a-z][\w.-]* [\d.]+: (\S+)$", (ROOT / PROJECT["license-files"][1]).read_text(), re.MULTILINE))
    assert licenses | {"MIT"} == set(PROJECT["license"].split(" AND "))


def test_the_docs_name_every_extra():
    page = (ROOT / "docs" / "start.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == [extra for extra in EXTRAS if extra not in ("dev", "benchmarks")]
