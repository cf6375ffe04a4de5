"""A module imports only from modules above it."""

import ast
from pathlib import Path

import pytest

import shattering

ROOT = Path(shattering.__file__).parent
LAYERS = [
    ["errors"],
    ["values"],
    ["temporary"],
    ["files"],
    ["cache"],
    ["identity"],
    ["machine"],
    ["lifetime"],
    ["signals"],
    ["cluster"],
    ["stats"],
    ["seeds"],
    ["data"],
    ["randomization"],
    ["networks"],
    ["linalg"],
    ["features"],
    ["relu"],
    ["learners"],
    ["measures"],
    ["capacity"],
    ["studies"],
    ["loggers"],
    ["runs"],
    ["demo"],
    ["report"],
    ["testing"],
    ["paper"],
    ["cli"],
    ["__main__"],
]
ORDER = {name: i for i, layer in enumerate(LAYERS) for name in layer}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name == "shattering" and isinstance(node, ast.ImportFrom):
                found |= {alias.name for alias in node.names if alias.name in ORDER}
            elif name and name.startswith("shattering."):
                found.add(name.split(".")[1])
    return found


@pytest.mark.parametrize("path", [p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py"], ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_upwards(path):
    mine = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for other in imported(path):
        assert ORDER[other] <= ORDER[mine], f"{path} imports {other}"


def test_public_names_exist_and_are_lazy():
    for name in shattering.__all__:
        assert getattr(shattering, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = shattering.nonsense
