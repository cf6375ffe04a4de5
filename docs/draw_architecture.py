"""Draw the rooms of the package and what they import from each other: `python docs/draw_architecture.py`.

The picture, docs/images/architecture.svg, is drawn from the source: each room with the first sentence of its docstring, in the order
of `ROOMS`, and an arc for each import that does not follow from others. A test compares the committed picture with this drawing.
"""

import ast
from html import escape
from pathlib import Path

import shattering

SOURCE = Path(shattering.__file__).parent
PICTURE = Path(__file__).parent / "images" / "architecture.svg"
ROOMS = [  # from the first to the last: a room imports only from the rooms before it
    *("version", "brief", "errors", "parameters", "system", "identity", "stats", "seeds"),
    *("data", "randomization", "networks", "linalg", "features", "relu", "learners", "measures"),
    *("runs", "report", "diagnose", "compare", "interrogate", "experiments", "cli", "__main__"),
]
PATH = ("data", "randomization", "learners", "runs", "report", "compare", "cli")  # the way of the data, highlighted
_ROW, _TEXT, _WIDTH = 30, 130, 960  # pixels: height of a room, left edge of its name, width of the picture


def module_names(root: Path) -> dict[str, Path]:
    """Map the dotted name of every module below a package to its file; the package itself has the name ""."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path
        for path in root.rglob("*.py")
    }


def import_graph(root: Path) -> dict[str, set[str]]:
    """Map every module below a package to the modules of the package that it imports, within functions and for type checkers too."""
    modules = module_names(root)
    return {name: _imported(path, set(modules)) - {name} for name, path in modules.items()}


def _imported(path: Path, modules: set[str]) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path} has a relative import, expected absolute ones")
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    ours = {name.removeprefix("shattering").removeprefix(".") for name in names if name.split(".")[0] == "shattering"}
    return {name for name in ours & modules if name} or ({""} if "" in ours else set())


def room_of(module: str) -> str:
    """Return the room that a module belongs to: the first part of its dotted name."""
    return module.split(".")[0]


def room_imports(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Map every room to the other rooms that it imports from."""
    rooms: dict[str, set[str]] = {room: set() for room in ROOMS}
    for name, others in graph.items():
        if name:
            rooms[room_of(name)] |= {room_of(other) for other in others if other} - {room_of(name)}
    return rooms


def essential(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """Drop every import that follows from others: from c to a where c imports b, and b imports a."""
    reached: dict[str, set[str]] = {}
    for room in ROOMS:
        reached[room] = imports[room].union(*(reached[other] for other in imports[room]))
    return {room: {o for o in others if not any(o in reached[other] for other in others)} for room, others in imports.items()}


def sentence_of(room: str) -> str:
    """Return the first sentence of a room's docstring."""
    path = SOURCE / room / "__init__.py" if (SOURCE / room).is_dir() else SOURCE / f"{room}.py"
    text = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".").replace("`", "")


def draw() -> str:
    """Return the picture as SVG."""
    height = _ROW * len(ROOMS) + 30
    place = {room: 25 + _ROW * i for i, room in enumerate(ROOMS)}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="13" role="img">',
        "<title>The rooms of the package, from the first to the last, and what they import</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for room, others in essential(room_imports(import_graph(SOURCE))).items():
        for other in sorted(others, key=ROOMS.index):
            low, high = place[other], place[room]
            reach = 14 + 3.6 * (high - low) / _ROW
            lines.append(
                f'<path d="M {_TEXT - 14} {high} C {_TEXT - 14 - reach} {high}, {_TEXT - 14 - reach} {low}, {_TEXT - 14} {low}" '
                'fill="none" stroke="#9aa4b1"/>'
            )
    for room in ROOMS:
        color, weight = ("#1769aa", "bold") if room in PATH else ("#222", "normal")
        name = room if (SOURCE / room).is_dir() else f"{room}.py"
        lines.append(f'<circle cx="{_TEXT - 14}" cy="{place[room]}" r="4" fill="{color}"/>')
        lines.append(f'<text x="{_TEXT}" y="{place[room] + 4}" fill="{color}" font-weight="{weight}">{escape(name)}</text>')
        lines.append(f'<text x="{_TEXT + 130}" y="{place[room] + 4}" fill="#444">{escape(sentence_of(room))}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw())
