"""The Python of the README and of the page on runs does what the text says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def blocks(name):
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), flags=re.S)


def test_the_readme_runs(tmp_path, monkeypatch):
    """On fewer digits: on all of them it takes half a minute, and what it prints is stored in results/start.json."""
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("README.md")
    small = code.replace('"digits")', '"digits", n_train=100, n_test=50, n_permutations=3)')
    assert small != code
    names: dict = {}
    exec(small, names)
    assert [line.name for line in names["test"].answer] == ["Learns", "Memorizes", "Label noise"]
    assert (tmp_path / "report.html").exists()


def test_the_page_on_runs_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit, stored = blocks("docs/how-to/runs.md")
    first: dict = {}
    exec(fit, first)
    assert first["model"].score(first["noise"].train) == 1
    assert first["model"].score(first["noise"].test) == pytest.approx(0.1, abs=0.08)
    second: dict = {}
    exec(stored, second)
    assert [run.status for run in second["runs"]] == ["done"] * 6
