"""Sweeps on Ray: on a cluster of this machine, which a whole file of tests shares."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest
from sklearn.naive_bayes import GaussianNB

from shattering import InputError, Randomization, Ray, RunSpec, Store, randomization_test, sweep
from shattering.cli import main
from shattering.identity.names import name_of
from shattering.system import cluster as cluster_module
from shattering.system.cluster import connected
from tests.conftest import Terminal
from tests.interpreter import forking_interpreter
from tests.programs import Program, run_program
from tests.runs.fits import noted
from tests.runs.test_endings import PATH, SWEEP, wait_for
from tests.runs.test_sweep import Frail

ray = pytest.importorskip("ray", reason='sweeps on Ray are NOT TESTED here: pip install "shattering[ray]"')
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system")
ONE_THREAD_EACH = os.cpu_count()  # as many jobs: like the runs on Ray, for more threads may round otherwise
QUICK = {"epochs": 2, "batch_size": 50, "device": "cpu", "checkpoint_every": 0}
LONG = {**QUICK, "epochs": 60, "batch_size": 10}


def specs(n, params=QUICK):
    return [RunSpec("digits", n_train=100, n_test=50, randomization=Randomization(1.0), params=params, seed=s) for s in range(n)]


@pytest.fixture(scope="module")
def python():
    """What clusters of these tests start their workers with."""
    with forking_interpreter() as python:
        yield python


@pytest.fixture(scope="module")
def cluster(python):
    """Two cores, no GPU, as a sweep starts it; sweeps use the connection of this process and leave it open."""
    with contextlib.ExitStack() as started:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cluster_module, "usable_cores", lambda: 2)
            patch.delenv("RAY_ADDRESS", raising=False)
            patch.setattr(sys, "executable", python)
            started.enter_context(connected(None, "tests"))
        yield ray.get_runtime_context().gcs_address


class Killer(threading.Thread):
    """Kills workers on Ray while they execute runs whose names begin with `name`, whenever `when` says so, at most `times` times."""

    def __init__(self, times, name="digits", when=lambda: True):
        super().__init__(daemon=True)
        self.times, self.name, self.when, self.killed, self.over = times, name, when, [], threading.Event()

    def run(self):
        while len(self.killed) < self.times and not self.over.wait(0.05):
            workers = [p for p in psutil.Process().children(recursive=True) if self.is_victim(p)]
            if workers and self.when():
                victim = random.choice(workers)
                victim.kill()
                self.killed.append(victim.pid)

    def is_victim(self, process):
        try:
            return process.pid not in self.killed and process.cmdline()[0].startswith(f"ray::{self.name}")
        except (psutil.Error, IndexError):
            return False


STRANGER = """
import sys, ray
try:
    ray.init(address=sys.argv[1], logging_level="FATAL")
    print(ray.get(ray.remote(lambda: "executed").remote()))
except ConnectionError as error:
    print("refused")
"""


def test_a_cluster_of_ones_own_is_reached_by_this_machine_alone_and_refuses_strangers(cluster):
    assert cluster.rpartition(":")[0] == "127.0.0.1"
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    sockets = [c.laddr.ip for process in processes for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(sockets) >= 5
    assert {ip.removeprefix("::ffff:") for ip in sockets} == {"127.0.0.1"}
    without = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    stranger = subprocess.run([sys.executable, "-c", STRANGER, cluster], env=without, capture_output=True, text=True, timeout=200)
    assert stranger.stdout == "refused\n"
    known = subprocess.run([sys.executable, "-c", STRANGER, cluster], capture_output=True, text=True, timeout=200)
    assert known.stdout == "executed\n", "the token is in the environment"


def test_no_process_outlives_a_sweep_on_its_own_cluster_that_is_killed(tmp_path):
    real = "import subprocess; subprocess.Popen = subprocess.Popen.__mro__[2]"  # interpreters, whose command lines `Guard` looks for
    program = real + SWEEP.replace("len(kinds), objects=given", "engine='ray', objects=given")
    environment = {**os.environ, "PYTHONPATH": PATH, "TMPDIR": str(tmp_path)}
    environment = {name: value for name, value in environment.items() if not name.startswith("RAY_")}
    process = Program([sys.executable, "-c", program, str(tmp_path), "hold"], env=environment)
    wait_for(lambda: len(noted(tmp_path / "fits")) == 1, process)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 5
    process.kill()
    process.wait(30)
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert [run.status for run in Store(tmp_path / "runs").runs()] == ["interrupted"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cpus_per_run": 0}, "cpus_per_run is 0, expected a number above 0"),
        ({"gpus_per_run": -1}, "gpus_per_run is -1, expected a number of at least 0"),
        ({"gpus_per_run": 1.5}, "gpus_per_run is 1.5, expected a whole number above 1"),
        ({"gpus_per_run": True}, "gpus_per_run is True, expected a number of at least 0"),
        ({"cpus_per_run": "2"}, "cpus_per_run is '2', expected a number above 0"),
    ],
)
def test_bad_shares(options, message):
    with pytest.raises(InputError, match=message):
        Ray(**options)


def test_places_on_a_node():
    assert Ray(gpus_per_run=0.1, cpus_per_run=0.5).slots({"CPU": 8, "GPU": 1}) == 10
    assert Ray(cpus_per_run=3).slots({"CPU": 8, "GPU": 1}) == 2
    assert Ray(gpus_per_run=1).slots({"CPU": 8}) == 0


def test_addresses_where_no_cluster_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # whatever other tests have connected this process to
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]  # bound, but nobody listens
        assert main(["sweep", "--seed", "0", "--engine", "ray", "--address", f"127.0.0.1:{port}"]) == 1
    assert f"address is '127.0.0.1:{port}', where nothing answers" in capsys.readouterr().err
    assert main(["sweep", "--seed", "0", "--engine", "ray", "--address", "head"]) == 1
    assert "address is 'head', expected HOST:PORT of a cluster's head node, or auto" in capsys.readouterr().err
    assert main(["sweep", "--seed", "0", "--gpus-per-run", "0.5"]) == 2
    assert "--gpus-per-run is 0.5 beside --engine local, expected it with --engine ray alone" in capsys.readouterr().err


def test_ray_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_module, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'needs the package ray, which is not installed: pip install "shattering\[ray\]"'):
        sweep(specs(1), Store(tmp_path), engine="ray")
    code = "import sys, shattering.cli, shattering.runs.sweep; print('ray' in sys.modules)"
    assert run_program([sys.executable, "-c", code], check=True).stdout == "False\n"


def test_a_sweep_gives_the_bytes_of_a_local_one_though_its_workers_are_killed(tmp_path, cluster, monkeypatch):
    """One is killed at random, one in a run that has a checkpoint, one in each attempt of a run that kills it, and one run is bad input."""
    store, shown, frail = Store(tmp_path / "ray"), Terminal(), name_of("frail", "0")
    quick, (long, *_) = specs(3), specs(1, LONG)
    deadly, bad = RunSpec("digits", n_train=100, n_test=50, model=frail), RunSpec("digits", n_train=5000)
    later = time.monotonic() + random.uniform(0, 8)
    killers = Killer(1, long.folder_name, (store.folder(long) / "checkpoint.pt").exists), Killer(1, when=lambda: time.monotonic() > later)
    for killer in killers:
        killer.start()
    objects = {frail: Frail(str(tmp_path / "fits"), times=9)}
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", shown)
        runs = sweep([long, bad, deadly, *quick], store, objects=objects, progress=True, engine="ray")
    for killer in killers:
        killer.over.set()
    assert len(killers[0].killed) == 1
    assert [run.status for run in runs] == ["done", "failed", "failed", *["done"] * 3]
    assert "n_train is 5000, expected 1…1297" in runs[1].error
    assert runs[2].error == "the worker process died 3 times (WorkerCrashedError)", "it had begun each time"
    assert "\rruns 0/6" in shown.getvalue()
    assert "epoch " in shown.getvalue()
    assert shown.getvalue().count("\nfailed ") + shown.getvalue().count("\rfailed ") == 2
    assert runs[0].provenance["resumed"]
    local = sweep([long, *quick], Store(tmp_path / "local"), jobs=ONE_THREAD_EACH)
    for a, b in zip([runs[0], *runs[3:]], local, strict=True):
        for name in ("history.parquet", "model.safetensors", *(["result.json"] if a is not runs[0] else [])):
            assert (a.folder / name).read_bytes() == (b.folder / name).read_bytes(), name
        assert a.provenance["threads"] == 1
    started = [r.provenance["started"] for r in runs[3:]]
    assert [r.provenance["started"] for r in sweep(quick, store, engine="ray")] == started, "they were run once"


def test_objects_of_the_caller_are_shipped(cluster):
    X, y = [[i % 7, i % 3] for i in range(60)], [i % 3 for i in range(60)]
    arguments = {"n_permutations": 2, "randomizations": ["permuted-labels"]}
    here, there = (randomization_test(GaussianNB(), (X, y), engine=engine, **arguments) for engine in ("local", "ray"))
    assert [d.test_score for d in there.repeats] == [d.test_score for d in here.repeats]


def test_a_store_that_only_the_workers_see_is_said(tmp_path, cluster, monkeypatch):
    """As on another machine: what the task is told leads elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(Store, "where", property(lambda self: str(tmp_path / "elsewhere")))
    (run,) = sweep(specs(1), Store(tmp_path / "here"), engine="ray")
    assert run.status == "failed"
    assert "expected one that all machines share" in run.error


def test_an_address_beside_a_connection(tmp_path, cluster):
    with pytest.raises(InputError, match="address is 'head:6379', but this process is connected to"):
        sweep(specs(1), Store(tmp_path), engine=Ray("head:6379"))


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (
            Ray(gpus_per_run=0.25),
            "cpus_per_run is 1 and gpus_per_run is 0.25, expected what one node has: the largest of 1 have 2 CPUs and 0",
        ),
        (Ray(cpus_per_run=3), "the largest of 1 have 2 CPUs"),
        ("slurm", "unknown engine 'slurm'; known: local, ray"),
    ],
)
def test_a_sweep_that_would_wait_for_ever_says_so(tmp_path, cluster, engine, message):
    with pytest.raises(InputError, match=message):
        sweep(specs(1), Store(tmp_path), engine=engine)


class Head:
    """A cluster's head node, a process group of its own on this machine."""

    def __init__(self, python):
        self.code = f"import sys; from ray.scripts.scripts import main; sys.executable = {python!r}; main()"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def __enter__(self):
        options = [
            "--node-ip-address=127.0.0.1",
            f"--port={self.port}",
            "--num-cpus=2",
            "--include-dashboard=false",
            "--disable-usage-stats",
        ]
        start = [sys.executable, "-c", self.code, "start", "--head", "--block", *options]
        self.process = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                assert self.process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)

    def __exit__(self, *_):
        family = [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(family, timeout=30)
        self.process.wait(30)


def test_the_next_call_resumes_on_another_cluster_when_the_head_node_is_gone(tmp_path, cluster, python):
    head = Head(python)
    options = ["--n-train", "100", "--n-test", "50", "--seed", "0", "--set", "epochs=100", "--set", "batch_size=10"]
    options += ["--set", "checkpoint_every=0", "--engine", "ray", "--address", f"127.0.0.1:{head.port}", "--store", str(tmp_path)]
    command = [sys.executable, "-m", "shattering", "sweep", *options]
    with head:
        soon = {**os.environ, "RAY_gcs_rpc_server_reconnect_timeout_s": "5"}  # Ray gives up after a minute
        sweeping = Program(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=soon)
        deadline = time.monotonic() + 200
        while not list(tmp_path.glob("*/checkpoint.pt")):
            assert sweeping.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert sweeping.wait(200) != 0
    assert [run.status for run in Store(tmp_path).runs()] == ["interrupted"]
    params = {"epochs": 100, "batch_size": 10, "checkpoint_every": 0}
    (run,) = sweep([RunSpec("digits", n_train=100, n_test=50, params=params)], Store(tmp_path), engine="ray")
    assert len(Store(tmp_path).runs()) == 1, "the same run"
    assert run.status == "done"
    assert run.provenance["resumed"]
