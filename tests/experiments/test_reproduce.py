"""From stored runs to tables, figures and pages; and through ten interruptions."""

import json
import os
import random
import re
import shutil
import signal
import sys
from dataclasses import replace
from html import unescape
from statistics import fmean

import pytest

from shattering import Store, run, sweep
from shattering.cli import main
from shattering.cli.common import print_page
from shattering.experiments import reproduce, table1
from shattering.experiments.catalogue import find_experiments
from shattering.experiments.experiment import show
from shattering.experiments.reference import TABLE_1
from shattering.experiments.reproduce import experiment_specs, settles
from shattering.experiments.scales import SCALES
from shattering.report.charts import to_spec
from shattering.runs import sweep as sweep_module
from tests.experiments.conftest import TINY
from tests.programs import run_program


def cells(html):
    """The texts of all table cells of a page, a list a row."""
    rows = re.findall(r"<tr>(.*?)</tr>", html.partition("<h2>Provenance")[0], flags=re.S)
    return [[unescape(c) for c in re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.S)] for row in rows]


@pytest.mark.parametrize("name", find_experiments("all-cifar"))
def test_every_number_on_a_page_is_in_the_result_and_in_its_json(tiny_store, name):
    result = reproduce.make_result(name, TINY, tiny_store)
    assert not result.not_done
    shown = [row for row in cells(reproduce.render_result(result)) if row]
    expected = [[show(row[c.key], c.kind) for c in table.columns] for table in result.tables for row in table.rows]
    assert shown == expected + [[c.name, c.says, c.rule, c.evidence, c.shown_verdict] for c in result.claims]
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["experiment"] == name
    assert "n = 30 of digits" in result.tables[0].title


def test_table_1_is_the_means_of_the_stored_results(tiny_store):
    rows = reproduce.make_result("table1", TINY, tiny_store).tables[0].rows
    for reference, row in zip(TABLE_1, rows, strict=True):
        folders = [tiny_store.folder(spec) for spec in table1.row_specs(TINY, reference)]
        results = [json.loads((folder / "result.json").read_text()) for folder in folders]
        assert row["train"] == pytest.approx(fmean(r["train_accuracy"] for r in results))
        assert row["test"] == pytest.approx(fmean(r["test_accuracy"] for r in results))
        assert row["seeds"] == ("3" if reference.network == "mlp-1x512" else "1")
        assert (row["paper_train"], row["paper_test"]) == (reference.train, reference.test)


@pytest.mark.parametrize(("name", "n_runs"), [("figure1a", 5), ("figure1c", 25), ("figure2b", 2)])
def test_figures_are_drawn_from_every_run(tiny_store, name, n_runs):
    result = reproduce.make_result(name, TINY, tiny_store)
    chart, caption = result.charts[name]
    data = [row for rows in to_spec(chart)["datasets"].values() for row in rows]
    if name == "figure1c":
        ours = {(r["series"], r["labels"]): r["error"] for r in data if "seeds" in r}
        table = {(r["model"], r["labels"]): r["error"] for r in result.tables[0].rows}
        assert sorted(ours.values()) == pytest.approx(sorted(table.values()))
        assert len([r for r in data if "error" in r and "seeds" not in r]) == 6, "the paper's, at both ends"
    else:
        assert len({row["run"] for row in data if row.get("run")}) == n_runs
    assert "n = 30 of digits" in caption


def test_pages_and_pictures_are_written(tiny_store, tmp_path):
    files = reproduce.write_result(reproduce.make_result("figure2b", TINY, tiny_store), tmp_path / "new")
    assert [f.name for f in files] == [f"figure2b-tiny.{kind}" for kind in ("html", "pdf", "svg", "png")]
    starts = [f.read_bytes()[:8] for f in files]
    assert starts[0].startswith(b"<!doc")
    assert starts[1].startswith(b"%PDF")
    assert starts[2].startswith(b"<svg")
    assert starts[3] == b"\x89PNG\r\n\x1a\n"


def test_without_the_package_that_draws_pictures_there_is_a_page_and_a_sentence(tiny_store, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    files = reproduce.write_result(reproduce.make_result("figure2b", TINY, tiny_store), tmp_path / "new")
    assert [f.name for f in files] == ["figure2b-tiny.html"]
    print_page(files)
    out, err = capsys.readouterr()
    assert out == f"Page: {files[0]}\n"
    assert err.startswith("Left out: a picture (PDF, SVG, PNG) beside the page needs the package vl-convert-python, which is not installed")


@pytest.fixture
def holed_store(tiny_store, tmp_path):
    """Without the first run of table 1, and with the second one failed."""
    root = tmp_path / "holed"
    shutil.copytree(tiny_store.root, root)
    missing, failed = table1.specs(TINY)[:2]
    store = Store(root)
    shutil.rmtree(store.folder(missing))
    (store.folder(failed) / "result.json").unlink()
    store.fail(failed, "it <broke>")
    return store


@pytest.mark.parametrize("name", [*find_experiments("all-linear"), *find_experiments("all-capacity"), *find_experiments("all-survey")])
def test_nothing_is_judged_where_everything_is_missing(tmp_path, name):
    result = reproduce.make_result(name, TINY, Store(tmp_path / "empty"))
    assert len(result.not_done) == len(result.runs)
    assert [claim.holds for claim in result.claims] == [None] * len(result.claims)
    assert "missing" in reproduce.render_result(result)


def test_missing_and_failed_runs_show_loudly(holed_store):
    result = reproduce.make_result("table1", TINY, holed_store)
    assert [run.status for run in result.not_done] == ["missing", "failed"]
    assert [row["verdict"] for row in result.tables[0].rows[:2]] == ["missing", "missing"]
    html = reproduce.render_result(result)
    assert "2 of 28 runs are not done" in html
    assert "it &lt;broke&gt;" in html
    assert next(c for c in result.claims if c.name == "regularizers help").holds is None


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SCALES, "demo", TINY)

    def call(*arguments):
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_paper_redraws_from_stored_runs_and_runs_nothing(cli, tiny_store, tmp_path):
    before = sorted((p, p.stat().st_mtime_ns) for p in tiny_store.root.rglob("*"))
    code, out, _ = cli("paper", "all-cifar", "--from", tiny_store.root, "--out", "drawn", "--json")
    assert code == 0
    found = json.loads(out)
    assert [r["experiment"] for r in found["results"]] == find_experiments("all-cifar")
    assert len(found["files"]) == 1 + 7 + 4 * 3, "an index, a page each; pictures of four figures, as nothing overfits for figure 1b"
    index = (tmp_path / "drawn" / "all-cifar-tiny.html").read_text()
    links = re.findall(r'<a href="([^"]+)"', index)
    assert [(tmp_path / "drawn" / link).exists() for link in links] == [True] * 7
    assert all(claim["name"] in unescape(index) for result in found["results"] for claim in result["claims"])
    assert sorted((p, p.stat().st_mtime_ns) for p in tiny_store.root.rglob("*")) == before
    code, out, _ = cli("paper", "table1", "--from", tiny_store.root)
    assert code == 0
    assert "89.31" in out
    assert "rule: every model reaches at least 99% train accuracy" in out
    assert f"Page: {tmp_path / 'paper' / 'table1-tiny.html'}" in out


def test_paper_says_what_is_missing_and_fails(cli, holed_store):
    code, out, _ = cli("paper", "table1", "--from", holed_store.root)
    assert code == 1
    assert "2 of 28 runs are not done, and missing above." in out
    assert "MISSING: regularizers help" in out


def test_paper_runs_what_is_missing(cli, holed_store):
    code, _, err = cli("paper", "figure2b", "--store", holed_store.root, "--jobs", 1)
    assert code == 0
    assert err == "", "nothing of figure 2b was missing"
    code, _, err = cli("paper", "table1", "--store", holed_store.root, "--jobs", 2)
    assert code == 0
    assert err.count("done  ") == 2


def test_bad_input_to_paper_is_one_sentence(cli, tmp_path):
    code, _, err = cli("paper", "table1", "--from", tmp_path / "nowhere")
    assert (code, err) == (1, f"shattering: --from is {tmp_path / 'nowhere'}, expected a folder of runs\n")
    code, _, err = cli("paper", "table1", "--jobs", 0)
    assert code == 2
    assert err == "shattering: --jobs is '0', expected a whole number of at least 1 or none\n"


INTERRUPTED = """
import os, psutil, random, signal, sys, threading, time
from dataclasses import replace
from shattering import Store, sweep
from shattering.experiments.reproduce import experiment_specs
from tests.experiments.conftest import TINY

def workers():
    "The processes that this one's server has forked."
    try:
        return [worker for server in psutil.Process().children() for worker in server.children()]
    except psutil.Error:
        return []

def interrupt(random, log):
    "Kill a worker at a random moment, then, at another, this process."
    for kill_worker in (True, False):
        while not workers():
            time.sleep(0.005)
        time.sleep(random.uniform(0.0, 0.3))
        alive = workers()
        if kill_worker and alive:
            os.kill(random.choice(alive).pid, signal.SIGKILL)
        with open(log, "a") as file:
            file.write("worker " if kill_worker else "parent ")
        if not kill_worker:
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    root, seed = sys.argv[1:]
    if seed != "none":
        threading.Thread(target=interrupt, args=(random.Random(int(seed)), root + ".log"), daemon=True).start()
    specs = [replace(s, params={**s.params, "device": "cpu", "checkpoint_every": 0}) for s in experiment_specs(["table1"], TINY)]
    sweep(specs, Store(root), jobs=2)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system")
def test_ten_interruptions_change_nothing(tiny_store, tmp_path):
    script = tmp_path / "sweep.py"
    script.write_text(INTERRUPTED)
    store, seeds = Store(tmp_path / "store"), random.Random(8)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def call(seed):
        return run_program([sys.executable, script, store.root, str(seed)], env=environment)

    for _ in range(5):
        assert call(seeds.randrange(1000)).returncode == -signal.SIGKILL
    assert (tmp_path / "store.log").read_text().split() == ["worker", "parent"] * 5
    last = call("none")
    assert (last.returncode, last.stderr) == (0, "")
    ours, theirs = (reproduce.make_result("table1", TINY, s) for s in (store, tiny_store))
    assert ours.to_json() == theirs.to_json()
    for one, other in zip(ours.runs, theirs.runs, strict=True):
        assert (one.folder / "history.parquet").read_bytes() == (other.folder / "history.parquet").read_bytes()


def test_slices_resume_and_follow_the_order_of_what_runs_settle(tmp_path, monkeypatch):
    """A dry run of the plan of all-cifar with tiny networks: stopped in the midst of a run, twice, and then run to the end."""
    params = {"epochs": 40, "device": "cpu", "checkpoint_every": 0, "batch_size": 5}
    planned = [
        spec
        for spec in experiment_specs(find_experiments("all-cifar"), TINY)
        if spec.model_name == "alexnet" and not spec.params.get("augment")
    ]
    plan = list({(s := replace(spec, params=params | {"network": "mlp-1x4"})).run_id: s for spec in planned}.values())[:3]
    assert [settles(spec) for spec in plan] == [0, 1, 5]
    store = Store(tmp_path / "sliced")

    class Clock:
        """Time is up once a run has a checkpoint, so that it ends in the midst of it on a machine of any speed."""

        def __init__(self, spec):
            self.checkpoint = store.folder(spec) / "checkpoint.pt"

        def monotonic(self):
            return 1e9 if self.checkpoint.exists() else 0.0

    for number in (0, 1):
        monkeypatch.setattr(sweep_module, "time", Clock(plan[number]))
        runs = sweep(plan, store, seconds=60)
        assert [run.status for run in runs] == ["done"] * number + ["interrupted"] + ["missing"] * (2 - number)
        monkeypatch.undo()
    done = [run.whole() for run in sweep(plan, store)]
    assert [run.provenance["resumed"] for run in done] == [True, True, False]
    started = [run.provenance["started"] for run in done]
    assert started == sorted(started)
    again = run(plan[0], Store(tmp_path / "whole"))
    assert (again.folder / "history.parquet").read_bytes() == (done[0].folder / "history.parquet").read_bytes()


def test_the_budget_of_the_command_is_the_time_of_its_sweep(cli, monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr("shattering.cli.running.sweep_with_overview", lambda *_, **options: given.append(options["seconds"]))
    code, _, _ = cli("paper", "polynomial", "--budget", "30min", "--store", tmp_path / "none")
    assert (code, given) == (1, [1800])
    code, _, err = cli("paper", "polynomial", "--budget", "soon")
    assert (code, err) == (1, "shattering: budget is 'soon', expected a time such as '90s', '5min' or '1h'\n")
