import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from shattering import cli
from shattering.cli import COMMANDS, Group, main
from shattering.cli.options import Positional, Repeated, UsageError, help_of, options_of, parse
from shattering.parameters import Count


@dataclass(frozen=True)
class Base:
    store: str = "runs"
    """Where."""


@dataclass(frozen=True, kw_only=True)
class Cook(Base):
    """Cook a meal.

    More on it."""

    meal: Positional[Literal["soup", "stew"]]
    """Which."""
    guests: Count | None = None
    """How many. Default: all."""
    hot: bool = True
    """Serve it hot."""
    json: bool = False
    """Print JSON."""
    set: Repeated = ()
    """An ingredient."""
    from_: str | None = None
    """The hyperparameters."""
    out: Path = Path("plate")
    """The plate."""
    salt: float = 0.0
    """Spoons."""


def cook(*arguments):
    return parse(Cook, arguments, "kitchen cook")


def test_options_are_read_by_their_types():
    assert cook("soup") == Cook(meal="soup")
    given = cook("--guests", "3", "stew", "--no-hot", "--json", "--set", "a=1", "--set=b=2", "--from", "x", "--out=o/p", "--salt", "-1")
    assert given == Cook(meal="stew", guests=3, hot=False, json=True, set=("a=1", "b=2"), from_="x", out=Path("o/p"), salt=-1)
    assert cook("--guests", "none", "--", "soup") == Cook(meal="soup")
    assert cook("soup", "--set=--x") == Cook(meal="soup", set=("--x",))
    assert cook("soup", "--set", "-x") == Cook(meal="soup", set=("-x",))
    assert cook("soup", "--no_hot").hot is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "kitchen cook lacks MEAL, expected one of soup, stew"),
        (["pie"], "unknown MEAL 'pie'; known: soup, stew"),
        (["soup", "stew"], "kitchen cook got 'stew', expected MEAL alone beside its options"),
        (["soup", "--guest", "3"], "unknown option '--guest' of kitchen cook; did you mean --guests?"),
        (["soup", "--gu", "3"], "unknown option '--gu' of kitchen cook; did you mean --guests?"),
        (["soup", "--pepper", "3"], "unknown option '--pepper' of kitchen cook; see kitchen cook --help"),
        (["soup", "--guests"], "--guests has no value, expected a whole number of at least 1"),
        (["soup", "--guests", "--json"], "--guests has no value, expected a whole number of at least 1"),
        (["soup", "--guests", "--jsn"], "--guests is '--jsn', expected a whole number of at least 1 or none"),
        (["soup", "--guests="], "--guests is '', expected a whole number of at least 1 or none"),
        (["soup", "--guests", "1", "--guests", "1"], "--guests is given twice, the second time as '1', expected once"),
        (["soup", "--json=maybe"], "--json is 'maybe', expected no value: it is a flag"),
        (["soup", "--hot"], "unknown option '--hot' of kitchen cook; did you mean --no-hot?"),
        (["soup", "-g", "3"], "unknown option '-g' of kitchen cook; see kitchen cook --help"),
        (["soup", "--out", ""], "--out is '', expected a text that is not blank"),
        (["soup", "--set"], "--set has no value, expected a text"),
        (["soup", "--salt", "0,5"], "--salt is '0,5', expected a number"),
        (["soup", "---"], "unknown option '---' of kitchen cook; see kitchen cook --help"),
    ],
)
def test_bad_options(arguments, message):
    with pytest.raises(UsageError) as caught:
        cook(*arguments)
    assert str(caught.value) == message


def test_help_has_every_option_with_its_text(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    lines = help_of(Cook, "kitchen cook").splitlines()
    assert lines[:6] == ["usage: kitchen cook MEAL [OPTIONS]", "", "Cook a meal.", "", "More on it.", ""]
    rows = {line.split("  ")[1]: line.split("  ", 2)[2].strip() for line in lines[6:]}
    assert rows == {
        "MEAL": "Which. One of soup, stew.",
        "--store TEXT": "Where. Default: runs.",
        "--guests N": "How many. Default: all.",
        "--no-hot": "Serve it hot.",
        "--json": "Print JSON.",
        "--set TEXT": "An ingredient. May be given several times.",
        "--from TEXT": "The hyperparameters.",
        "--out PATH": "The plate. Default: plate.",
        "--salt X": "Spoons. Default: 0.0.",
        "-h, --help": "Show this help.",
    }


def commands(group: Group = COMMANDS, path: tuple[str, ...] = ()):
    for name, command in group.items():
        yield from commands(command, (*path, name)) if isinstance(command, Group) else [((*path, name), command)]


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=lambda value: "-".join(value) if isinstance(value, tuple) else "")
def test_every_option_of_every_command_has_a_text(path, command, capsys, monkeypatch):
    for columns in ("100", "40", "10"):
        monkeypatch.setenv("COLUMNS", columns)
        for word in ("--help", "-h"):
            assert main([*path, word]) == 0
            out, err = capsys.readouterr()
            assert err == ""
            assert out.startswith(f"usage: shattering {' '.join(path)} ")
    monkeypatch.setenv("COLUMNS", "200")
    assert main([*path, "--help"]) == 0
    out = capsys.readouterr().out
    for option in options_of(command):
        assert re.search(rf"^  {re.escape(option.name)}\b.*\s {{2,}}\S", out, re.MULTILINE), option.name


def test_help_of_groups(capsys):
    for arguments, names in ([], COMMANDS), (["--help"], COMMANDS), (["-h"], COMMANDS), (["capacity"], COMMANDS["capacity"]):
        assert main(arguments) == 0
        out, err = capsys.readouterr()
        assert err == ""
        for name in names:
            assert re.search(rf"^  {name} +\S", out, re.MULTILINE)
    assert main(["--version"]) == 0
    assert re.fullmatch(r"shattering \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_a_tilde_that_the_shell_has_left_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert cook("stew", "--out=~/menu").out == tmp_path / "menu"


@pytest.mark.parametrize("command", [["paper", "table1"], ["paper"], ["interrogate"]])
def test_a_store_beside_from_is_refused_as_nothing_is_run_in_it(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--from", "a", "--store", "b"]) == 2
    assert "--store is b beside --from, which runs nothing, expected one of the two" in capsys.readouterr().err


def test_options_of_a_randomization_without_one_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for options in (["--label-mode", "permute"], ["--permute-channels"], ["--noise-seed", "3"]):
        assert main(["run", *options]) == 1
        assert "expected" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_is_not_logged_again_and_a_run_that_is_given_twice_are_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ["--model", "nearest-neighbors", "--n-train", "20", "--n-test", "20"]
    assert main(["sweep", *small, "--seed", "0"]) == 0
    assert main(["sweep", *small, "--seed", "0", "--log", "tensorboard:tb"]) == 0
    assert "1 of 1 runs were done before, and are not logged again" in capsys.readouterr().err
    assert main(["retest", "--run", "digits", "--run", "digits-n20"]) == 1
    assert "--run has '" in (told := capsys.readouterr().err)
    assert "twice, expected each value once" in told


def test_standard_output_takes_any_text(monkeypatch):
    """In an encoding that lacks it, and where there is no standard output."""
    written = io.BytesIO()
    for output in (io.TextIOWrapper(written, "ascii"), None):
        monkeypatch.setattr(sys, "stdout", output)
        cli._open_output()
        assert main(["list", "measures"]) == 0
        sys.stdout.flush()
    sys.stdout.close()
    assert b"\\u2113" in written.getvalue()
