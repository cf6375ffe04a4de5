"""A module imports only from modules above it, file by file: imports for type checkers and within functions count."""

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import shattering
from tests.conftest import load_script

architecture = load_script(Path(__file__).parents[1] / "docs" / "draw_architecture.py")


def circle(graph: dict[str, set[str]]) -> list[str] | None:
    """Return the modules of a circle; None if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_imports_point_upwards():
    rooms = architecture.ROOMS
    for name, others in architecture.import_graph(architecture.SOURCE).items():
        for other in others if name else ():
            assert architecture.room_of(other) in rooms[: rooms.index(architecture.room_of(name)) + 1], f"{name} imports {other or 'all'}"


def test_no_module_imports_itself_through_others():
    assert circle(architecture.import_graph(architecture.SOURCE)) is None


@pytest.mark.parametrize(
    "text",
    [
        "from shattering.room.b import y",
        "def f():\n    from shattering.room import b",
        "if TYPE_CHECKING:\n    import shattering.room.b",
    ],
)
def test_a_planted_circle_inside_a_package_is_found(tmp_path, text):
    room = tmp_path / "room"
    room.mkdir()
    for folder in (tmp_path, room):
        (folder / "__init__.py").touch()
    (room / "a.py").write_text("x = 1\n")
    (room / "b.py").write_text("from shattering.room.a import x\n")
    assert circle(architecture.import_graph(tmp_path)) is None
    (room / "a.py").write_text(text)
    assert set(circle(architecture.import_graph(tmp_path)) or ()) == {"room.a", "room.b"}


def test_the_picture_of_the_rooms_is_drawn_from_the_code():
    assert architecture.PICTURE.read_text() == architecture.draw(), "python docs/draw_architecture.py draws it again"


def test_public_names_exist_and_are_lazy():
    for name in shattering.__all__:
        assert getattr(shattering, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = shattering.nonsense
