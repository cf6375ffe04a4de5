"""The README's Python runs as it stands."""

import re
from pathlib import Path

import pytest

BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).parent.parent / "README.md").read_text(), flags=re.S)


def test_blocks_run_and_do_what_the_comments_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    front: dict = {}
    exec(BLOCKS[0], front)
    assert front["test"].p_value == 1 / 20
    assert (tmp_path / "report.html").exists()
    first: dict = {}
    exec(BLOCKS[1], first)
    assert first["model"].score(first["noise"].train) == 1
    assert first["model"].score(first["noise"].test) == pytest.approx(0.1, abs=0.08)
    second: dict = {}
    exec(BLOCKS[2], second)
    assert [run.status for run in second["runs"]] == ["done"] * 6
    assert len(BLOCKS) == 3
