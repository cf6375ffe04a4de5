import gc
import multiprocessing
import os
import pickle
import random
import signal
import sys
import warnings

import numpy as np
import pytest
import sklearn
import torch

from shattering.runs import surroundings

CHANGES = {
    "environment": lambda folder: os.environ.update(LEFT="behind"),
    "less environment": lambda folder: os.environ.pop("GIVEN"),
    "folder": os.chdir,
    "module path": lambda folder: sys.path.insert(0, "/elsewhere"),
    "arguments": lambda folder: sys.argv.append("--more"),
    "streams": lambda folder: setattr(sys, "stdout", None),
    "warnings": lambda folder: warnings.simplefilter("ignore"),
    "recursion limit": lambda folder: sys.setrecursionlimit(12_345),
    "garbage collection": lambda folder: gc.disable(),
    "start method": lambda folder: multiprocessing.set_start_method("spawn", force=True),
    "Python's generator": lambda folder: random.seed(1),
    "NumPy's generator": lambda folder: np.random.seed(1),  # noqa: NPY002
    "torch's generator": lambda folder: torch.manual_seed(1),
    "torch's dtype": lambda folder: torch.set_default_dtype(torch.float64),
    "torch's device": lambda folder: torch.set_default_device("meta"),
    "torch's threads": lambda folder: torch.set_num_threads(torch.get_num_threads() + 1),
    "gradients": lambda folder: torch.set_grad_enabled(False),
    "deterministic algorithms": lambda folder: torch.use_deterministic_algorithms(True, warn_only=True),
    "anomaly detection": lambda folder: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "precision": lambda folder: torch.set_float32_matmul_precision("medium"),
    "precision, by the newer interface": lambda folder: setattr(torch.backends.mkldnn.matmul, "fp32_precision", "bf16"),
    "cuDNN": lambda folder: setattr(torch.backends.cudnn, "benchmark", True),
    "scikit-learn": lambda folder: sklearn.set_config(assume_finite=True),
    "NumPy's errors": lambda folder: np.seterr(all="raise"),
    "a handler": lambda folder: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "a timer": lambda folder: signal.setitimer(signal.ITIMER_REAL, 1000),
}


def found():
    """What can be seen of the process; the generators by what they give next."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    draws = random.random(), np.random.rand(), torch.rand(1, device="cpu", dtype=torch.float32).item()  # noqa: NPY002
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    more = [torch.is_grad_enabled(), list(warnings.filters), signal.getsignal(signal.SIGTERM), signal.getitimer(signal.ITIMER_REAL)[0] > 0]
    ours = [torch.get_num_threads(), sys.stdout, multiprocessing.get_start_method(allow_none=True), gc.isenabled()]
    return [surroundings.place(), surroundings.settings(), draws, more, ours]


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_run_changes_of_its_process_is_put_back(name, tmp_path, monkeypatch):
    monkeypatch.setenv("GIVEN", "here")
    random.seed(7), np.random.seed(7), torch.manual_seed(7)  # noqa: NPY002  # other seeds than those of the changes, whatever ran before
    before = found()
    with surroundings.put_back():
        CHANGES[name](tmp_path)
        during = found()
    after = found()
    assert during != before
    del before[0]["environment"], after[0]["environment"]  # torch's setters add to it, and so does pytest
    assert after == before
    assert os.environ["GIVEN"] == "here"
    assert "LEFT" not in os.environ


def test_it_is_put_back_after_an_error_too():
    def fail():
        torch.set_default_dtype(torch.float64)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), surroundings.put_back():
        fail()
    assert torch.get_default_dtype() == torch.float32


def test_another_process_can_have_the_same(tmp_path):
    with surroundings.put_back():
        torch.set_default_dtype(torch.float64)
        sklearn.set_config(assume_finite=True)
        os.chdir(tmp_path)
        os.environ["GIVEN"] = "here"
        handed = pickle.dumps(surroundings.place() | surroundings.settings())
    with surroundings.put_back():
        surroundings.have(pickle.loads(handed))
        assert torch.ones(1).dtype == torch.float64
        assert sklearn.get_config()["assume_finite"]
        assert os.getcwd() == str(tmp_path.resolve())
        assert os.environ["GIVEN"] == "here"
    assert torch.ones(1).dtype == torch.float32


def test_a_folder_that_is_gone_is_left_alone(tmp_path):
    with surroundings.put_back():
        (tmp_path / "gone").mkdir()
        os.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        with surroundings.put_back():
            pass
        assert surroundings.place()["folder"] is None
