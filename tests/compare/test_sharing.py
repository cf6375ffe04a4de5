"""Two processes that give the same test share its fits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.datasets import make_blobs

from shattering import randomization_test
from tests.runs.fits import Sleeper, noted

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
OTHER = """
import sys
from tests.compare.test_sharing import call
print("ready", flush=True)
input()
print(call(sys.argv[1]).p_value)
"""


def call(folder):
    X, y = make_blobs(60, centers=3, random_state=0)
    model = Sleeper(f"{folder}/fits", 0.3)
    return randomization_test(model, (X, y), randomizations=["permuted-labels"], n_permutations=7, jobs=1, store=f"{folder}/runs")


@pytest.mark.skipif(sys.platform == "win32", reason="locks between processes, as POSIX has them")
def test_two_tests_at_once_with_one_job_each_make_every_fit_once(tmp_path):
    command, environment = [sys.executable, "-c", OTHER, str(tmp_path)], {**os.environ, "PYTHONPATH": PATH}
    other = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdin is not None
    assert other.stdout.readline() == "ready\n"
    other.stdin.write("go\n")
    other.stdin.flush()
    ours = call(tmp_path)
    output, _ = other.communicate(timeout=120)
    assert other.returncode == 0
    assert float(output) == ours.p_value
    specs = [(folder.name, json.loads((folder / "spec.json").read_text())) for folder in sorted((tmp_path / "runs").iterdir())]
    assert len(specs) == 8, "both processes give a fit the same id"
    fits = noted(tmp_path / "fits")
    assert len({labels for _, labels in fits}) == len(fits) == 8, "each once"
    assert {process for process, _ in fits} == {str(os.getpid()), str(other.pid)}, "by both"
