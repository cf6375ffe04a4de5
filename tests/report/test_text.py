"""What is printed of a store, and shown on pages, where its texts are hostile."""

import html.parser
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from shattering import Randomization, RunSpec, Store, randomization_test, run
from shattering.cli import main
from shattering.report import page
from shattering.report.text import print_stored, print_summary
from shattering.runs.overview import Overview
from tests.conftest import Terminal
from tests.report.conftest import SPECS

EVIL = "[bold]:smile:\x1b[2J\u202e</script><script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{7*7}}\ud800"
CLEAR = "\\x1b[2J"


@pytest.fixture
def hostile(store, tmp_path):
    """A done run, and a failed one, all whose texts are hostile."""
    root = tmp_path / "store"
    done = shutil.copytree(store.folder(SPECS[4]), root / "evil-\x1b[2J[red]<b>-000000000001")
    result = json.loads((done / "result.json").read_text())
    result |= {"dataset": EVIL, "classes": [EVIL] * len(result["classes"]), "remark": EVIL}
    result["examples"] = [{**example, "label": EVIL, "true_label": EVIL[1:]} for example in result["examples"]]
    (done / "result.json").write_text(json.dumps(result))
    provenance = json.loads((done / "provenance.json").read_text())
    provenance |= dict.fromkeys(("processor", "device", "git_revision", "dataset_fingerprint", "started"), EVIL)
    provenance["versions"] = {EVIL: EVIL}
    (done / "provenance.json").write_text(json.dumps(provenance))
    spec = json.loads((done / "spec.json").read_text())
    spec |= {"dataset": EVIL, "params": {"network": EVIL, EVIL: EVIL}}
    (done / "spec.json").write_text(json.dumps(spec))
    failed = root / "evil-000000000002"
    failed.mkdir()
    (failed / "spec.json").write_text(json.dumps({**spec, "model": EVIL, "seed": 1, "scoring": EVIL}))
    (failed / "failed.json").write_text(json.dumps({"error": EVIL, "traceback": f"line one {EVIL}\nline two {EVIL}"}))
    damaged = root / "evil-\n[bold]-000000000003"
    damaged.mkdir()
    (damaged / "spec.json").write_text(json.dumps({**spec, EVIL: 1}))
    return Store(root)


def test_escape_sequences_and_markup_are_printed_as_they_are(hostile, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "2000")
    root = str(hostile.root)
    everything = hostile.everything()
    assert [found.status for found in everything] == ["newer", "done", "failed"]
    assert main(["status", "--store", root]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 4
    for name in ("evil-\\x1b", "evil-0000"):
        assert main(["show", name.encode().decode("unicode_escape"), "--store", root]) == 0
        out += capsys.readouterr().out
    assert "line one [bold]:smile:" in out
    assert "\nline two [bold]:smile:" in out, "the lines of a traceback are lines"
    runs = [found for found in everything if found.status != "newer"]
    print_summary(runs)
    print_stored(runs[0])
    with Overview(True, 1, 0) as overview:
        overview.finish(runs[1])
    out += "".join(capsys.readouterr())
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\ud800" not in out
    assert CLEAR in out
    assert out.count("[bold]:smile:") >= 10
    assert main(["show", "evil-\n", "--store", root]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "\x1b" not in error


def test_a_terminals_progress_takes_names_as_they_are(monkeypatch):
    monkeypatch.setattr("sys.stderr", written := Terminal())
    monkeypatch.setenv("COLUMNS", "400")
    with Overview(True, 1, 0) as overview:
        overview.progress.update(0, EVIL)
        overview.report(EVIL)
    assert written.getvalue().count("[bold]:smile:\\x1b[2J") == 3, "drawn twice, said once"
    assert "\x1b" not in written.getvalue()


class Parser(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.scripts = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data


def test_pages_escape_all_that_comes_from_outside(hostile, store, tmp_path):
    def parse(runs, title):
        path = page.write_report(runs, tmp_path / "r.html", title)
        parser = Parser()
        parser.feed(path.read_text())
        return parser

    evil = parse(hostile.everything(), EVIL)
    good = parse([store.of(SPECS[4]), replace(store.of(SPECS[5]), status="failed", error="x", result={}, provenance={})], "title")
    assert set(evil.tags) <= set(good.tags)
    assert evil.tags.count("script") == good.tags.count("script") == 3
    assert not [name for name in evil.attributes if name.startswith("on")]
    assert set(evil.attributes) <= set(good.attributes)
    specs = json.loads(evil.scripts[0])
    assert any(
        "</script><script>" in text for rows in specs["loss"]["datasets"].values() for row in rows for text in map(str, row.values())
    )
    assert evil.scripts[1:] == good.scripts[1:], "no other code"
    shown = page.render(hostile.everything(), EVIL)
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_the_pages_of_a_test_escape_names_of_classes(tmp_path):
    x, evil = np.random.default_rng(0).normal(size=(40, 3)), EVIL.encode(errors="backslashreplace").decode()
    test = randomization_test(
        KNeighborsClassifier(1), (x, np.where(x[:, 0] > 0, evil, "b")), n_permutations=2, randomizations=["permuted-labels"], store=tmp_path
    )
    for shown, scripts in ((test.to_html(), 3), (test._repr_html_(), 0), (page.render(Store(tmp_path).everything()), None)):
        parser = Parser()
        parser.feed(shown)
        assert "onerror" not in parser.attributes
        assert scripts is None or parser.tags.count("script") == scripts
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert "\x1b" not in str(test)


def test_groups_without_a_finished_run_are_shown_loudly(tmp_path):
    """Of any mixture of states, as while a sweep runs."""
    store = Store(tmp_path)
    failed, interrupted, running = (RunSpec("digits", n_train=50, model="nearest-neighbors", seed=s) for s in range(3))
    store.fail(failed, "because")
    store.fail(interrupted, "x")
    (store.folder(interrupted) / "failed.json").unlink()
    store.fail(running, "x")
    with store.lock(store.folder(running)):
        found = page.render(store.everything())
    assert "None of these runs is done" in found
    assert "no finished run" in found
    assert "(1 interrupted, 1 running, 1 failed)" in found or "1 running" in found
    assert found.count("<h3>nearest-neighbors on digits, 50 training examples</h3>") == 1
    assert "3 of 3 runs are not done" in found
    other = RunSpec("digits", n_train=60, model="nearest-neighbors")
    run(other, store)
    found = page.render(store.everything())
    assert found.count("<h3>") == 2
    assert "3 of 4 runs are not done" in found


def test_runs_are_grouped_by_what_was_asked_for(store, tmp_path, capsys):
    """Done and unfinished runs of the same, though the done ones know the variant of the data; and not runs that differ."""
    from shattering.report.tables import by_subject, summary_rows

    spec = RunSpec("cifar10", model="nearest-neighbors")
    done = replace(store.of(SPECS[0]), spec=spec, result={**store.of(SPECS[0]).result, "dataset": "cifar10 (JPEG)", "n_train": 50000})
    missing = replace(done, spec=replace(spec, seed=1), status="failed", result={}, provenance={})
    (subject,) = by_subject(summary_rows([missing, done]))
    assert (subject["dataset"], subject["n_train"]) == ("cifar10 (JPEG)", 50000)
    (row,) = subject["rows"]
    assert (row["seeds"], row["others"]) == (1, "1 failed")
    for changed in ({"n_test": 10}, {"image_size": 8}, {"n_validation": 5}, {"scoring": "f1_macro"}, {"hold_out": False}, {"n_train": 10}):
        other = replace(missing, spec=replace(spec, **changed))
        assert len(by_subject(summary_rows([done, other]))) == 2, changed
    shuffled = [
        replace(done, spec=replace(spec, randomization=Randomization(pixels="shuffled", permute_channels=p))) for p in (False, True)
    ]
    assert len(summary_rows(shuffled)) == 2, "another randomization"
    paths = [replace(done, spec=replace(spec, dataset=f"/{name}/mine.npz"), result={**done.result, "dataset": "mine"}) for name in "ab"]
    assert [s["dataset"] for s in by_subject(summary_rows(paths))] == ["mine (/a/mine.npz)", "mine (/b/mine.npz)"]
    other_variant = replace(done, spec=replace(spec, seed=2), result={**done.result, "dataset": "cifar10"})
    assert {s["dataset"] for s in by_subject(summary_rows([done, other_variant, missing]))} == {"cifar10 (JPEG)", "cifar10"}


def test_a_failed_run_shows_its_traceback_which_is_bounded(tmp_path, capsys):
    def stop(row):
        raise LookupError("the first epoch")

    store = Store(tmp_path)
    with pytest.raises(LookupError, match="the first epoch"):
        run(RunSpec("digits", n_train=50, n_test=20, params={"epochs": 1, "device": "cpu"}), store, on_epoch=stop)
    (failed,) = store.everything()
    assert failed.error == "LookupError: the first epoch"
    assert "Traceback (most recent call last)" in failed.traceback
    assert "in stop" in failed.traceback
    assert main(["show", failed.run_id, "--store", str(tmp_path)]) == 0
    assert "Traceback (most recent call last)" in capsys.readouterr().out
    assert main(["show", failed.run_id, "--json", "--store", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["traceback"] == failed.traceback
    store.fail(failed.spec, "x" * 10**6, "first\n" + "y" * 10**6 + "\nlast")
    (failed,) = store.everything()
    assert len(failed.error) < 21_000
    assert failed.traceback.startswith("first\n")
    assert failed.traceback.endswith("\nlast")
    assert "characters left out" in failed.traceback
    assert (failed.folder / "failed.json").stat().st_size < 50_000


def test_listing_a_store_imports_nothing_heavy(store):
    program = (
        "import sys; from shattering.cli import main; code = main(sys.argv[1:])\n"
        "heavy = {'torch', 'pandas', 'sklearn', 'scipy', 'PIL', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'{heavy}' if heavy else code)"
    )
    for more in ([], ["--json"]):
        done = subprocess.run([sys.executable, "-c", program, "status", "--store", str(store.root), *more], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("done") >= 9
