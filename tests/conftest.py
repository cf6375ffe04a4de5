import gc
import importlib.util
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings

from shattering.data.dataset import Dataset
from shattering.data.split import Split
from shattering.runs import forks
from tests.programs import Program

for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:  # as in a shell's background jobs, and under nohup; what tests start would ignore it too
        signal.signal(number, handler)
_LONGEST = [  # seconds of CPU of each, from 70 to 9; no other takes more
    "runs/test_ray",
    "experiments/test_reproduce",
    "learners/train/test_ranks",
    "compare/test_front",
    "test_cli",
    "experiments/test_linear",
    "compare/test_type_one",
    "report/test_browser",
    "test_docs",
    "learners/train/test_asynchronous",
    "runs/test_loggers",
    "measures/test_measure",
    "linalg/test_solvers",
    "linalg/test_routes",
    "compare/test_any_data",
    "compare/test_nulls",
    "experiments/test_capacity",
    "runs/test_endings",
    "test_examples",
    "diagnose/test_diagnose",
    "features/test_random_conv",
    "experiments/test_rules",
    "experiments/test_imagenet",
    "learners/test_network",
    "learners/train/test_streaming",
    "runs/test_sweep",
    "test_readme",
    "identity/test_processes",
    "runs/test_study",
    "interrogate/test_result",
    "compare/test_other_libraries",
    "test_bad_inputs",
    "runs/test_execute",
]
torch.set_num_threads(1)
settings.register_profile("shattering", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("shattering")


def pytest_collection_modifyitems(items):
    """The files that take longest come first, so that no worker is left with one of them at the end."""
    places = {f"tests/{name}.py": place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_collection_finish():
    """Collections of garbage leave out what was imported and collected: a twentieth of the suite's time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache. All processes of pytest share one, so that real images are decoded once."""
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("SHATTERING_CACHE", str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"))


@pytest.fixture(autouse=True)
def _same_draws():
    """A test whose networks have weights of torch's own draws has the same ones whatever ran before it."""
    torch.default_generator.manual_seed(0)  # `torch.manual_seed` also notes the stack, for GPUs: a thousand times the cost


@pytest.fixture(scope="session", autouse=True)
def _forked_server():
    """The server of this process's sweeps is forked too, which a new interpreter takes seconds of imports for."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.platform == "linux":
            names = {"DEVNULL": subprocess.DEVNULL, "TimeoutExpired": subprocess.TimeoutExpired}
            patch.setattr(forks, "subprocess", SimpleNamespace(Popen=Program, **names))
        yield


@pytest.fixture
def real_data(monkeypatch) -> Path:
    """The folder of real images, whole; the test is skipped, saying so, where there is none."""
    folder = os.environ.get("SHATTERING_DATA")
    if not folder or not Path(folder, "cifar10").is_dir():
        pytest.skip("real images: SHATTERING_DATA names no folder with cifar10/ and mnist/")
    return Path(folder)


@pytest.fixture(scope="session")
def results() -> Path:
    """The folder of stored runs; the test is skipped, saying so, in a source distribution, which lacks it."""
    folder = Path(__file__).parents[1] / "results"
    if not folder.is_dir():
        pytest.skip("stored runs: there is no results/, which source distributions leave out")
    return folder


class Terminal(io.StringIO):
    """Stands for a terminal, as sys.stderr."""

    def isatty(self) -> bool:
        return True


def load_script(path: Path) -> ModuleType:
    """A Python file that is in no package, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_split(n=40, shape=(3, 6, 5), n_classes=4, seed=0, dtype=torch.uint8) -> Split:
    generator = np.random.default_rng(seed)
    images = torch.from_numpy(generator.integers(0, 256, (n, *shape), dtype=np.uint8))
    if dtype == torch.float32:
        images = images.float() / 255
    labels = torch.from_numpy(generator.permutation(np.arange(n) % n_classes))
    return Split(images, labels, tuple(f"class{k}" for k in range(n_classes)))


@pytest.fixture
def dataset() -> Dataset:
    return Dataset(make_split(), make_split(n=16, seed=1))
