"""The server of a sweep's workers in a real interpreter; other tests have it forked, see `tests.conftest`."""

import os
import subprocess
import sys

import psutil
import pytest

from shattering import RunSpec, Store, sweep
from shattering.runs import forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no server where processes cannot be forked")
def test_a_new_interpreter_imports_the_library_and_forks_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(forks, "subprocess", subprocess)
    forks._end()
    params = {"epochs": 1, "device": "cpu", "checkpoint_every": 0}
    runs = sweep([RunSpec("digits", n_train=100, n_test=50, params=params, seed=seed) for seed in (0, 1)], Store(tmp_path), jobs=2)
    assert [run.status for run in runs] == ["done", "done"]
    assert forks._server is not None
    server = psutil.Process(forks._server.process.pid)
    assert server.cmdline() == forks._server.process.args
    assert server.cmdline()[0] == sys.executable
    forks._end()
    assert not server.is_running()
