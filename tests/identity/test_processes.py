"""The identity of a run is the same in every process, changes with whatever can change its result, and with nothing else.

`cases.txt` holds what users write, and an edit of each. Child processes compute the identities of all of them before the edit, again
before it in another process with other hashes and in another folder, and after it.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.programs import run_program

CHILD = """
import glob, json, sys
from pathlib import Path
from shattering.runs.spec import RunSpec
from shattering.compare.front import name_objects
from shattering.learners.adapt import as_model
from shattering.learners.targets import import_target

def run_id(model, hyperparameters=None):
    name, estimator, params = as_model(model, hyperparameters)
    given, names, unknown = name_objects(name, estimator, "digits", None)
    assert not unknown, unknown
    return RunSpec(**names, params=params).run_id

root = Path(sys.argv[1])
found = {}
for number, (name, make) in enumerate(json.loads((root / "cases.json").read_text())):
    here = str(root / str(number))
    sys.path.insert(0, here)
    names = {"here": here}
    exec(make, names)
    found[name] = run_id(names["model"], names.get("hyperparameters"))
source = (root / "net.py").read_text()
cell = {"__name__": "__main__"}
exec(compile(source, "<cell>", "exec"), cell)
sys.path.insert(0, str(root))
forms = {"script": Net, "notebook": cell["Net"], "file": f"{root}/net.py:Net", "module": "net:Net", "again": f"{root}/net.py:Net"}
print(json.dumps([found, {name: run_id(form) for name, form in forms.items()}]))
"""


@dataclass
class Case:
    """What a user writes, files and the code that makes `model`, and an edit of it.

    "§" stands for the number of the case, so that one process can import them all. old: "" where the new text is added at the end.
    """

    files: dict[str, str] = field(default_factory=dict)
    make: str = "from model§ import train as model"
    where: str = ""
    old: str = ""
    new: str = ""
    renamed: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path, number: int, edited: bool) -> str:
        """Write the files, before or after the edit; the code that makes the model."""
        texts = {**self.files, "make": self.make}
        if edited:
            assert self.where in texts
            assert self.old in texts[self.where]
            before, after = (texts[self.where], "") if not self.old else texts[self.where].split(self.old, 1)
            texts[self.where] = before + self.new + after
            texts = {self.renamed.get(name, name): text for name, text in texts.items()}
        folder.mkdir(parents=True)
        for name, text in texts.items():
            path = folder / name.replace("§", str(number))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("§", str(number)))
        return (folder / "make").read_text()


def read_cases() -> tuple[str, dict[str, dict[str, Case]]]:
    """(the source of a network, "changes" and "same" → name → case), from cases.txt."""
    shared: dict[str, str] = {}
    kinds: dict[str, dict[str, Case]] = {}
    for part in ("\n" + Path(__file__).with_name("cases.txt").read_text()).split("\n# ")[1:]:
        kind, _, rest = part.partition("\n")
        cases = kinds.setdefault(kind, {})
        for block in ("\n" + rest).split("\n## "):
            name, *sections = ("\n" + block).split("\n=== ")
            case = cases.setdefault(name.strip(), Case())
            for section in sections:
                head, _, text = section.partition("\n")
                _take(case, head, text.rstrip("\n"), shared)
            if kind == "shared":
                shared |= {head: text + "\n" for head, text in case.files.items()}
    return shared["NET"], {kind: {name: case for name, case in kinds[kind].items() if name} for kind in ("changes", "same")}


def _take(case: Case, head: str, text: str, shared: dict[str, str]) -> None:
    verb, _, name = head.partition(" ")
    if verb == "make":
        case.make = text
    elif verb == "edit":
        case.where, case.old = name, text
    elif verb == "to":
        case.new = text
    elif verb == "rename":
        case.renamed[name] = text
    else:
        file, _, source = head.partition(" < ")
        case.files[file] = shared[source] if source else text + "\n"


NET, CASES = read_cases()


@pytest.fixture(scope="module")
def children(tmp_path_factory) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """What three processes found: before the edits; elsewhere, in a new interpreter with other hashes; and after the edits."""
    cases = {**CASES["changes"], **CASES["same"]}

    def child(name: str) -> tuple[dict[str, str], dict[str, str]]:
        root = tmp_path_factory.mktemp(name)
        makes = [(case, cases[case].write(root / str(i), i, edited=name == "after")) for i, case in enumerate(cases)]
        (root / "cases.json").write_text(json.dumps(makes))
        (root / "net.py").write_text(NET)
        (root / "child.py").write_text(NET + CHILD)
        environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, str(root / "child.py"), str(root)]
        if name == "elsewhere":
            done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
        else:
            done = run_program(command, env=environment, cwd=root)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    names = ("before", "elsewhere", "after")
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(child, names), strict=True))


def test_there_are_enough_cases():
    assert len(CASES["changes"]) >= 40
    assert len(CASES["same"]) >= 25


@pytest.mark.parametrize("name", [*CASES["changes"], *CASES["same"]])
def test_it_is_the_same_in_every_process(children, name):
    assert children["before"][0][name] == children["elsewhere"][0][name]


@pytest.mark.parametrize("name", CASES["changes"])
def test_what_can_change_a_result_changes_it(children, name):
    assert children["after"][0][name] != children["before"][0][name]


@pytest.mark.parametrize("name", CASES["same"])
def test_what_cannot_change_a_result_does_not_change_it(children, name):
    assert children["after"][0][name] == children["before"][0][name]


def test_a_class_is_the_same_one_however_it_is_handed_over(children):
    """In a script that is run, in a notebook, as file.py:Net, as module:Net, and imported again."""
    found = {form for _, forms in children.values() for form in forms.values()}
    assert len(found) == 1
