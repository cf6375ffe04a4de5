"""Tables fit a terminal of 80 columns, and a program that reads them gets whole lines."""

import os
import re
import shutil
import sys
from functools import partial

import pytest

from shattering import Store
from shattering.cli import main
from shattering.experiments import scoreboard
from shattering.report.text import print_summary

ROWS = {"networks": 7, "models": 11, "datasets": 7, "measures": 60}


@pytest.fixture
def terminal(monkeypatch):
    """Of a number of columns; 0: a pipe."""

    def set_columns(columns):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: columns > 0, raising=False)
        monkeypatch.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((columns or 80, 24)))

    return set_columns


@pytest.mark.parametrize("what", ROWS)
@pytest.mark.parametrize("columns", [80, 60, 120])
def test_lists_fit_the_terminal(terminal, capsys, what, columns):
    terminal(columns)
    assert main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert sum(not line.startswith(" ") for line in lines) > ROWS[what]


def test_what_is_left_out_is_said_and_wide_or_a_pipe_has_it(terminal, capsys):
    terminal(80)
    main(["list", "models"])
    assert "--wide shows CLASS, too." in capsys.readouterr().out
    terminal(0)
    main(["list", "models"])
    piped = capsys.readouterr().out
    terminal(80)
    main(["list", "models", "--wide"])
    assert capsys.readouterr().out == piped
    assert "sklearn.linear_model.Perceptron" in piped
    assert "--wide" not in piped
    assert len(piped.splitlines()) == 1 + ROWS["models"]


def test_lines_of_status_are_cut(terminal, capsys, tmp_path):
    store = tmp_path / "runs"
    assert main(["run", "--n-train", "20", "--n-test", "10", "--set", "epochs=1", "--store", str(store)]) == 0
    capsys.readouterr()
    terminal(40)
    main(["status", "--store", str(store)])
    line = capsys.readouterr().out.splitlines()[0]
    assert (len(line), line[-1]) == (40, "…")
    main(["status", "--store", str(store), "--wide"])
    assert "test" in capsys.readouterr().out.splitlines()[0]


def test_the_scoreboard_fits_and_names_what_lacks_runs(terminal, capsys, results, monkeypatch, tmp_path):
    for run in Store(results).runs():
        if run.spec.dataset == "cifar10":
            shutil.copytree(run.folder, tmp_path / run.folder.name)
    monkeypatch.setattr(scoreboard, "every_result", partial(scoreboard.every_result, names=["figure1b", "width-descent"]))
    terminal(80)
    assert main(["paper", "--from", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert {"claim", "verdict", "where"} <= set(out.splitlines()[2].split())
    assert "missing" not in out.splitlines()[0]
    assert re.search(r"\n--wide shows .*ours with.*, too\.", out)
    assert out.endswith("Claims that lack runs are left out: some of width-descent.\n")


def test_the_scoreboard_of_an_empty_store_is_a_sentence_with_the_remedy(capsys, tmp_path):
    assert main(["paper", "--store", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == "", "in place of a table of what is missing"
    assert err.count("\n") == 1
    assert "has no runs that a claim of the papers needs: `shattering paper table1` makes some" in err


def test_a_summary_fits_the_terminal(terminal, capsys, results):
    runs = Store(results).runs()[:8]
    terminal(45)
    print_summary(runs)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 45
    assert "--wide shows epochs to fit, too." in lines
