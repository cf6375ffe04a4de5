"""Two processes that give the same test share its fits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.datasets import make_blobs

from shattering import randomization_test
from tests.programs import Program
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
    both = [Program(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0] == outputs[1]
    specs = [(folder.name, json.loads((folder / "spec.json").read_text())) for folder in sorted((tmp_path / "runs").iterdir())]
    assert len(specs) == 8, "both processes give a fit the same id"
    fits = noted(tmp_path / "fits")
    assert len({labels for _, labels in fits}) == len(fits) == 8, "each once"
    assert {process for process, _ in fits} == {str(process.pid) for process in both}, "by both"
