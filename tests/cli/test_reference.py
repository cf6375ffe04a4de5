"""Help and the reference of the command line: made from the commands, with examples that work."""

import re
import shlex
from pathlib import Path

import pytest

from shattering.cli import COMMANDS, main, understand
from shattering.cli.options import examples_of, options_of
from shattering.measures.catalog import MEASURES
from tests.cli.test_options import commands
from tests.conftest import load_script

DOCS = Path(__file__).parents[2] / "docs"
PATHS = [(), ("capacity",), *(path for path, _ in commands())]


def of(path):
    found = COMMANDS
    for word in path:
        found = found[word]
    return found


def called(example):
    """The arguments of the call of shattering in an example."""
    words = shlex.split(re.sub(r'eval "\$\((.*)\)"', r"\1", example).partition(" |")[0])
    assert words[0] == "shattering"
    return words[1:]


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_has_examples_that_parse_and_fits_80_columns(path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*path, "--help"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) < 80
    assert not re.search(r"None|Optional|\{|<class", out)
    examples = examples_of(of(path))
    assert 1 <= len(examples) <= 3
    assert "\nexamples:\n" + "".join(f"  {example}\n" for example in examples) in out
    for example in examples:
        command = understand(called(example))
        assert hasattr(command, "execute")
        names = [*getattr(command, "only", ()), *(getattr(command, "measures", None) or "").split(",")]
        assert set(filter(None, names)) <= MEASURES.keys()
        assert not path or called(example)[: len(path)] == list(path), "it is an example of this command"


def test_the_reference_has_every_command_with_every_option():
    made = "\n".join(load_script(DOCS / "command_reference.py").reference())
    parts = dict(re.findall(r"^## `shattering (.*?)`\n(.*?)(?=^## |\Z)", made, re.MULTILINE | re.DOTALL))
    for path, command in commands():
        part = parts[" ".join(path)]
        assert [option.name for option in options_of(command) if f"| `{option.name}" not in part] == []
        assert all(f"\n{example}\n" in part for example in examples_of(command))
    assert "capacity" in parts


def test_the_page_of_commands_is_filled_when_the_docs_are_built():
    extension, page = load_script(DOCS / "command_reference.py"), (DOCS / "commands.md").read_text()
    assert "command_reference" in (DOCS / "conf.py").read_text()
    source = [page]
    extension._fill(None, "commands", source)
    assert "## `shattering capacity shatter-point`" in source[0]
    assert extension.MARK not in source[0]


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["shoow", "x"], "show"),
        (["capacity", "bit"], "bits"),
        (["paper", "figure1d"], "figure1"),
        (["run", "--data", "cifar-10"], "cifar10"),
        (["run", "--set", "network=alexnt"], "alexnet"),
        (["run", "--model", "random-forrest"], "random-forest"),
        (["interrogate", "--measures", "log_path_nrm"], "log_path_norm"),
        (["list", "network"], "networks"),
    ],
)
def test_misspelled_names_are_answered_with_the_one_that_is_meant(arguments, meant, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(rf"did you mean '?{meant}", err), err
    assert err.count("\n") == 1
