"""Progress: a line in a terminal and in a notebook, lines that stay where they are asked for, and nothing elsewhere."""

import io
import re
import sys

import numpy as np
import pytest
from PIL import Image

from shattering import InputError, NetworkClassifier, Randomization, RunSpec, Store, load_dataset, measure, randomization_test, run, sweep
from shattering.diagnose.diagnose import diagnose
from shattering.system import progress as module
from shattering.system.progress import Progress
from tests.conftest import Terminal


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test sets."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def watch(monkeypatch):
    """Make the standard error a terminal; not before the test runs, as pytest sets it again for that."""

    def make(columns=100):
        monkeypatch.setattr(sys, "stderr", shown := Terminal())
        monkeypatch.setenv("COLUMNS", str(columns))
        return shown

    return make


def lines(shown):
    """What the line was, one after the other; the last is empty if it was erased."""
    return [line.strip() for line in shown.getvalue().split("\r")]


def test_the_line_tells_what_is_done_and_the_time_that_is_left(watch, clock):
    terminal = watch()
    with Progress("fits", 4, done=1) as progress:
        clock[0] = 30.0
        progress.update(2, "of a forest")
        clock[0] = 31.0
        progress.take_part(0.5, "epoch 5/10")
        clock[0] = 900.0
        progress.update(3)
    assert lines(terminal) == [
        "",
        "fits 2/4  about 60 s left  of a forest",
        "fits 2/4  about 31 s left  of a forest  epoch 5/10",
        "fits 3/4  about 3 min left  epoch 5/10",
        "",
        "",
    ]


def test_without_a_total_it_tells_the_time_so_far(watch, clock):
    terminal = watch()
    with Progress("fits") as progress:
        clock[0] = 7200.0
        progress.update(3)
    assert "fits 3  2 h so far" in lines(terminal)


def test_it_is_drawn_ten_times_a_second_at_most_and_never_wider_than_the_terminal(watch, clock):
    terminal = watch(30)
    with Progress("fits", 10_000) as progress:
        for done in range(10_000):
            clock[0] += 0.001
            progress.update(done, "a long text" * 9)
    drawn = lines(terminal)[1:-2]
    assert 90 <= len(drawn) <= 101
    assert max(map(len, drawn)) < 30


@pytest.mark.parametrize(("shown", "said", "seen"), [(None, False, True), (True, True, True), (False, False, False)])
def test_what_a_terminal_and_a_pipe_get(shown, said, seen, clock, monkeypatch):
    for file, is_terminal in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", file)
        with Progress("fits", 2, shown) as progress:
            clock[0] += 1
            progress.update(1)
            progress.say("the first")
        assert ("fits 1/2" in file.getvalue()) is (seen and is_terminal)
        assert ("the first\n" in file.getvalue()) is said


def test_one_within_another_is_a_part_of_it(watch, clock):
    terminal = watch()
    with Progress("steps", 2) as outer:
        outer.update(0, "random labels")
        with Progress("", 1) as inner:
            clock[0] = 10.0
            inner.take_part(0.5, "epoch 1/2")
            inner.say("nobody asked for this")
        assert outer.part == 0
        with Progress("x", 1, shown=False) as silent:
            clock[0] = 20.0
            silent.take_part(0.9, "hidden")
    assert "steps 0/2  about 30 s left  random labels  epoch 1/2" in lines(terminal)
    assert "nobody" not in terminal.getvalue()
    assert "hidden" not in terminal.getvalue()
    before = terminal.getvalue()
    with Progress("steps", 2, shown=False), Progress("", 1, shown=True) as inner:
        clock[0] = 30.0
        inner.take_part(0.5, "epoch 1/2")
        inner.say("said")
    assert terminal.getvalue() == before, "what is within something silent is silent"


def test_a_notebook_gets_the_line_and_a_closed_terminal_does_no_harm(clock, monkeypatch):
    notebook = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stderr", notebook)
    with Progress("fits", 2) as progress:
        clock[0] += 1
        progress.update(1)
    assert "fits 1/2" in notebook.getvalue()
    for stderr in (None, Terminal()):
        if stderr:
            stderr.close()
        monkeypatch.setattr(sys, "stderr", stderr)
        with Progress("fits", 2, True) as progress:
            progress.update(1)


def test_functions_that_take_long_show_it_in_a_terminal_unless_told_not_to(watch, tmp_path, monkeypatch):
    terminal = watch()
    monkeypatch.setattr(module, "_EVERY", 0.0)
    store, small = Store(tmp_path), {"n_train": 40, "n_test": 20}
    spec = RunSpec("digits", **small, params={"network": "mlp-1x8", "epochs": 2})

    def seen():
        shown = lines(terminal)
        terminal.seek(0)
        terminal.truncate()
        return shown

    done = run(spec, store)
    assert any(re.search(r"^(about|\d+ s so far).*epoch 1/2  train [\d.]+%", line) for line in seen())
    measure(done, measures=["n_parameters", "parameter_norm"])
    assert any(line.startswith("measures 1/2") and line.endswith("parameter_norm") for line in seen())
    randomization_test("nearest-neighbors", "digits", **small, n_permutations=2, randomizations=["permuted-labels"])
    assert any(line.startswith("steps") and "random labels (permuted)" in line for line in seen())
    sweep([spec], store)
    assert any(line.startswith("runs 1/1") for line in seen()) is False, "it was done before"
    run(RunSpec("digits", **small, seed=1, params={"network": "mlp-1x8", "epochs": 2}), store, progress=False)
    measure(done, measures=["n_parameters"], progress=False)
    randomization_test("nearest-neighbors", "digits", **small, n_permutations=2, randomizations=["permuted-labels"], progress=False)
    assert terminal.getvalue() == ""


def test_a_fit_shows_its_epochs_unless_a_call_around_it_has_a_line(watch, clock, monkeypatch):
    monkeypatch.setattr(module.Progress, "update", ticking(module.Progress.update, clock))
    terminal, model = watch(), NetworkClassifier("mlp-1x4", epochs=3)
    model.fit(np.eye(8), np.arange(8) % 2)
    assert re.search(r"\repochs 2/3  about 1 s left  train \d", terminal.getvalue())
    assert lines(terminal)[-1] == ""
    silent = watch()
    model.fit(np.eye(8), np.arange(8) % 2, progress=False)
    with Progress("fits", 2, False):
        model.fit(np.eye(8), np.arange(8) % 2)
    assert silent.getvalue() == ""
    assert "progress" not in model.get_params()
    with pytest.raises(InputError, match="progress is 'no'"):
        model.fit(np.eye(8), np.arange(8) % 2, progress="no")


def ticking(update, clock):
    """Make each update take a second."""

    def slow(self, *arguments):
        clock[0] += 1.0
        update(self, *arguments)

    return slow


def test_images_that_are_decoded_are_counted(watch, clock, monkeypatch, tmp_path):
    for i in range(6):
        (folder := tmp_path / f"class{i % 2}").mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (40 * i, 0, 0)).save(folder / f"{i}.png")
    monkeypatch.setattr(module.Progress, "update", ticking(module.Progress.update, clock))
    terminal = watch()
    load_dataset(tmp_path)
    assert re.search(r"\rdata  about \d+ s left  images decoded 2/6", terminal.getvalue())
    again = watch()
    load_dataset(tmp_path, progress=False)
    assert again.getvalue() == ""


def test_a_diagnosis_shows_its_checks(watch, clock, monkeypatch, tmp_path):
    monkeypatch.setattr(module.Progress, "update", ticking(module.Progress.update, clock))
    spec = RunSpec("digits", n_train=60, n_test=20, randomization=Randomization(1.0), params={"epochs": 1, "network": "mlp-1x4"})
    done = run(spec, Store(tmp_path), progress=False)
    terminal = watch()
    assert diagnose(done)
    assert "\rchecks 2/3  about" in terminal.getvalue()
    assert lines(terminal)[-1] == ""
    silent = watch()
    diagnose(done, progress=False)
    assert silent.getvalue() == ""


def test_only_the_first_process_draws(watch, monkeypatch):
    monkeypatch.setattr(module.multiprocessing, "parent_process", object)
    terminal = watch()
    with Progress("fits", 2) as progress:
        progress.update(1)
    assert terminal.getvalue() == ""
