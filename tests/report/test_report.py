import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import RepeatedKFold, TimeSeriesSplit
from sklearn.neighbors import KNeighborsClassifier

from shattering import InputError, Randomization, RunSpec, Store, randomization_test, run, runs_table, summary_table, write_report
from shattering.data.arrays import dataset_from_arrays
from shattering.identity.names import name_of
from shattering.report import figures, page, text
from shattering.report.charts import save, to_spec
from shattering.report.tables import summary_rows, verdicts
from shattering.report.text import print_stored
from tests.conftest import load_script
from tests.report.conftest import SPECS

ROOT = Path(__file__).parents[2]


def test_pages_need_no_extra_and_pictures_say_which(store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)  # as if it were not installed
    assert "window.vegaEmbed" in page.render(store.runs())
    chart = figures.error_curves(store.runs())
    with pytest.raises(InputError, match=r'c.png needs the package vl-convert-python, which is not installed: pip install "shattering'):
        save(chart, tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


def test_the_scripts_that_draw_charts_have_the_versions_of_the_installed_drawer():
    vendor = load_script(ROOT / "release" / "vendor_charts.py")
    assert page._drawing().splitlines()[0] == vendor.first_line(), vendor.__doc__
    licenses = (vendor.TEMPLATES / "vega.licenses.txt").read_text()
    for name, version in vendor.versions().items():
        assert re.search(rf"^{name} {re.escape(version)}", licenses, re.MULTILINE)


@pytest.fixture
def broken_store(store, tmp_path):
    """Done, failed and interrupted runs."""
    other = Store(tmp_path)
    for spec in SPECS[:2]:
        run(spec, other)
    other.fail(SPECS[2], "<script>alert('it broke')</script>")
    other.fail(SPECS[4], "x")
    (other.folder(SPECS[4]) / "failed.json").unlink()
    return other


def test_summary_is_over_seeds_in_the_papers_order(store):
    summary, table = summary_table(store.runs()), runs_table(store.runs())
    assert summary["randomization"].tolist() == [
        *("original data", "50% corrupted labels", "random labels", "shuffled pixels", "random pixels", "Gaussian pixels")
    ]
    assert summary["seeds"].tolist() == [2, 2, 2, 1, 1, 1]
    random = table[table["labels"] == 1]
    row = summary[summary["labels"] == 1].iloc[0]
    assert row["test_accuracy"] == pytest.approx(random["test_accuracy"].mean())
    assert row["test_sd"] == pytest.approx(random["test_accuracy"].std())
    assert row["chance"] == 0.1
    assert row["fitted"] == random["interpolated"].sum()


def test_randomizations_are_named_by_what_a_table_has(tmp_path):
    """Its inputs have features and no pixels; a run that is not done has the words of those that are."""
    X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
    name, mine = name_of("mine", "0"), dataset_from_arrays(X, y, X, y)
    base = RunSpec(name, model="network", params={"network": "mlp-1x512", "epochs": 1})
    done = [base, replace(base, randomization=Randomization(pixels="gaussian"))]
    store = Store(tmp_path)
    for spec in done:
        run(spec, store, objects={name: mine})
    store.fail(replace(base, randomization=Randomization(pixels="shuffled")), "x")
    titles = ["original data", "shuffled features", "Gaussian features"]
    assert summary_table(store.runs())["randomization"].tolist() == titles
    curves = to_spec(figures.loss_curves(store.runs()))
    assert curves["encoding"]["color"]["scale"]["domain"] == titles[::2]


def test_folds_are_no_seeds(tmp_path, capsys):
    """What a seed has is the mean over its folds; the spread is over seeds."""
    store, base = Store(tmp_path), RunSpec("digits", n_train=60, model="nearest-neighbors", folds=3, fold=0)
    done = [run(replace(base, fold=fold, seed=seed), store) for seed in (0, 1) for fold in range(3)]
    store.fail(replace(base, fold=0, seed=2), "x")
    (row,) = summary_rows(store.runs())
    assert (row["seeds"], row["runs"], row["not_done"], row["n_test"]) == (2, 6, 1, 60)
    accuracies = np.array([one.result["test_accuracy"] for one in done]).reshape(2, 3).mean(1)
    assert row["test_accuracy"] == pytest.approx(accuracies.mean())
    assert row["test_sd"] == pytest.approx(accuracies.std(ddof=1))
    text.print_summary(store.runs())
    assert "2 (6 runs)" in capsys.readouterr().out
    assert "<td>2 (6 runs) <span" in page.render(store.everything())
    (one,) = summary_rows(done[:3])
    assert (one["seeds"], one["runs"], one["test_sd"]) == (1, 3, None)


def write_arrays(path, seed=0):
    """A table of two classes, in which the first feature tells the class."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(90, 3)).astype("float32")
    np.savez(path, x_train=x[:60], y_train=x[:60, 0] > 0, x_test=x[60:], y_test=x[60:, 0] > 0)


def test_a_given_model_is_not_said_to_have_its_defaults(tmp_path):
    options = {"randomizations": ["permuted-labels"], "n_permutations": 1, "store": tmp_path}
    randomization_test(KNeighborsClassifier(3), "digits", n_train=60, n_test=30, **options)
    html = page.render(Store(tmp_path).everything())
    assert "Hyperparameters: those of the object that was given" in html
    assert "at their defaults" not in html
    assert "given" not in summary_table(tmp_path)


def test_a_long_curve_ends_where_training_stopped():
    """Of 700 epochs every second one is drawn, and the last."""
    history = pd.DataFrame({"epoch": range(1, 701)})
    assert figures._thinned(history)["epoch"].tolist() == [*range(1, 701, 2), 700]
    assert len(figures._thinned(history.iloc[:5])) == 5
    assert figures._thinned(history.iloc[:0]).empty


def test_folds_of_different_sizes_are_of_one_seed(tmp_path):
    """Three folds of 61 examples cannot be of one size."""
    store, base = Store(tmp_path), RunSpec("digits", n_train=61, model="nearest-neighbors", folds=3, fold=0)
    done = [run(replace(base, fold=fold), store).result for fold in range(3)]
    store.fail(replace(base, fold=1, seed=1), "x")
    assert len({result["n_train"] for result in done}) == 2
    (row,) = summary_rows(store.runs())
    assert (row["n_train"], row["seeds"], row["runs"], row["not_done"], row["n_test"]) == (
        max(result["n_train"] for result in done),
        1,
        3,
        1,
        61,
    )
    assert row["test_accuracy"] == pytest.approx(np.mean([result["test_accuracy"] for result in done]))


@pytest.mark.parametrize(("cv", "n"), [(RepeatedKFold(n_splits=3, n_repeats=4, random_state=0), 60), (TimeSeriesSplit(3), 45)])
def test_examples_that_repeated_folds_test_again_count_once(tmp_path, cv, n):
    options = {"cv": cv, "randomizations": ["permuted-labels"], "n_permutations": 1, "store": tmp_path}
    randomization_test(KNeighborsClassifier(1), "digits", n_train=60, **options)
    assert {row["n_test"] for row in summary_rows(Store(tmp_path).runs())} == {n}


def test_runs_of_a_file_that_has_changed_are_not_averaged_as_if_they_were_folds(tmp_path):
    store, done = Store(tmp_path / "store"), []
    for seed in (0, 1):
        write_arrays(tmp_path / "a.npz", seed)
        done += [run(RunSpec(str(tmp_path / "a.npz"), model="nearest-neighbors", seed=s), store) for s in (0, 1)]
    rows = summary_rows(store.runs())
    digests = [one.provenance["dataset_fingerprint"][:8] for one in done[::2]]
    assert sorted(row["dataset"] for row in rows) == sorted(f"a (data {digest})" for digest in digests)
    assert [(row["seeds"], row["runs"], row["n_test"]) for row in rows] == [(2, 2, 30)] * 2
    assert {row["test_accuracy"] for row in rows} == {one.result["test_accuracy"] for one in done}
    (alone,) = summary_rows(done[:2])
    assert alone["dataset"] == "a"


def test_one_file_spelled_in_several_ways_is_one_configuration(tmp_path, monkeypatch):
    write_arrays(tmp_path / "a.npz")
    monkeypatch.chdir(tmp_path)
    paths = ("a.npz", "./a.npz", str(tmp_path / "a.npz"), f"../{tmp_path.name}/a.npz")
    done = [run(RunSpec(path, model="nearest-neighbors", seed=seed), Store("store")) for seed, path in enumerate(paths)]
    (row,) = summary_rows(done)
    assert (row["dataset"], row["seeds"], row["runs"]) == ("a", 4, 4)


def test_the_order_of_the_axes_is_part_of_a_configuration(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (60, 3, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x_train=x[:40], y_train=np.arange(40) % 2, x_test=x[40:], y_test=np.arange(20) % 2)
    specs = [RunSpec(str(tmp_path / "a.npz"), model="nearest-neighbors", channels=c, hold_out=True) for c in ("first", "last")]
    rows = summary_rows([run(spec, Store(tmp_path / "store")) for spec in specs])
    assert [(row["setting"], row["runs"], row["n_test"]) for row in rows] == [("channels = first", 1, 20), ("channels = last", 1, 20)]


def test_test_splits_of_two_sizes_are_named_in_titles_and_sentences(tmp_path, capsys):
    store, base = Store(tmp_path), RunSpec("digits", n_train=60, model="nearest-neighbors")
    runs = [run(replace(base, n_test=n, randomization=Randomization(p)), store) for n in (20, None) for p in (0, 1)]
    text.print_summary(runs)
    out = capsys.readouterr().out
    for more in ("n_test = 20", "n_test = all"):
        assert f"60 training examples ({more})" in out
        assert f"nearest-neighbors ({more}) does not fit all random labels" in out
    lines = to_spec(figures.error_curves(runs))["layer"][0]
    assert {"field": "subject", "type": "nominal"} in lines["encoding"]["detail"], "a line of each, not one through both"


def test_scores_of_a_regression_are_not_called_accuracies_in_percent(tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
    np.savez(tmp_path / "a.npz", x_train=x[:40], y_train=x[:40, 0], x_test=x[40:], y_test=x[40:, 0])
    base = RunSpec(str(tmp_path / "a.npz"), model="network-regressor", params={"network": "mlp-1x4", "epochs": 1})
    specs = [replace(base, seed=seed, params={**base.params, "epochs": epochs}) for epochs in (1, 2) for seed in (0, 1)]
    runs = [run(spec, Store(tmp_path / "store")) for spec in specs]
    html = page.render(runs)
    assert '<th scope="col">test r2</th>' in html
    for wrong in ("test accuracy, %", "test images", "mark is chance", "Dashed line: chance"):
        assert wrong not in html
    scores = [one.result["test_score"] for one in runs[:2]]
    assert f"{np.mean(scores):.3g} ± {np.std(scores, ddof=1):.2g}" in html
    text.print_summary(runs)
    assert " % " not in capsys.readouterr().out
    panels = to_spec(figures.run_charts(runs)["scores"])["vconcat"]
    assert [panel["title"].partition(", {")[2] for panel in panels] == ['"epochs": 1}', '"epochs": 2}']


def test_a_share_is_not_rounded_up_to_all(store):
    rows = summary_rows(store.runs())
    for row in rows:
        row.update({"train_accuracy": 0.9996, "fitted": 1} if row["labels"] == 1 else {})
    assert "does not fit all random labels (more than 99.9% of them)" in verdicts(rows)[0]


def test_a_copied_folder_counts_once(store, tmp_path):
    """By `cp -r`, and as a run that was renamed and run again; with a warning that names the folders."""
    copied = Store(shutil.copytree(store.root, tmp_path / "store"))
    own, renamed = copied.folder(SPECS[0]), copied.root / "first try"
    shutil.copytree(own, copied.root / f"{own.name}-copy")
    own.rename(renamed)
    run(SPECS[0], copied)
    with pytest.warns(
        UserWarning, match=rf"has 2 folders left out as copies of runs, .*{own.name}-copy \(of {own.name}\), first try \(of {own.name}\)"
    ):
        runs = copied.runs()
    pd.testing.assert_frame_equal(summary_table(runs), summary_table(store.runs()))
    assert own in [run.folder for run in runs]
    shutil.rmtree(own)
    shutil.rmtree(copied.root / f"{own.name}-copy")
    assert renamed in [run.folder for run in copied.runs()], "the only one is no copy"


def test_a_store_its_folder_or_runs_are_runs(store, tmp_path, monkeypatch):
    for runs in (store, store.root, str(store.root), iter(store.everything())):
        pd.testing.assert_frame_equal(summary_table(runs), summary_table(store.runs()))
    pd.testing.assert_frame_equal(runs_table(store), runs_table(store.runs()))
    assert to_spec(figures.loss_curves(store)) == to_spec(figures.loss_curves(store.runs()))
    monkeypatch.chdir(tmp_path)
    assert write_report(store, "r.html").read_text().count("<h3>") == page.render(store.runs()).count("<h3>")


@pytest.mark.parametrize("call", [runs_table, summary_table])
def test_a_store_without_runs_has_the_same_columns(call, store, tmp_path):
    assert (nothing := call(Store(tmp_path))).empty
    assert list(nothing) == list(call(store))


@pytest.mark.parametrize("call", [runs_table, summary_table, figures.run_charts, lambda runs: write_report(runs, "r.html")])
def test_what_are_no_runs_is_one_sentence(call, store):
    one = store.runs()[0]
    for bad, found in ((one, "is <Run digits"), (5, "is 5"), ([one, 5], "has 5"), (None, "is None")):
        with pytest.raises(InputError, match=f"runs {found}.*, expected a store, its folder, or a list of runs"):
            call(bad)
    with pytest.raises(InputError, match="store nowhere does not exist, expected a folder of runs"):
        call("nowhere")


def test_a_page_has_a_path():
    with pytest.raises(InputError, match="path is None, expected the path of a page"):
        write_report([], None)


def test_runs_that_are_not_done_stay_in_the_tables(broken_store):
    summary = summary_table(broken_store.runs()).set_index("labels")
    assert summary.loc[0.5, "failed"] == 1
    assert summary["not_done"].tolist() == [0, 1, 1]
    assert runs_table(broken_store.runs())["status"].tolist().count("done") == 2


def test_verdicts_state_what_was_measured(store):
    (sentence,) = verdicts(summary_rows(store.runs()))
    row = summary_table(store.runs()).set_index(["pixels", "labels"]).loc[("true", 1.0)]
    assert ("fits random labels" in sentence) == (row["fitted"] == 2)
    assert f"test accuracy {row['test_accuracy']:.1%} (chance 10.0%)" in sentence
    assert not verdicts(summary_rows(store.runs()[:2]))


def test_figures_hold_every_run(store):
    spec = to_spec(figures.loss_curves(store.runs()))
    (rows,) = spec["datasets"].values()
    assert {row["randomization"] for row in rows} == {run.spec.randomization.title for run in store.runs()}
    assert len({row["run"] for row in rows}) == 9
    assert len(rows) == 27
    spec = to_spec(figures.error_curves(store.runs()))
    errors = [row for rows in spec["datasets"].values() for row in rows if "error" in row]
    assert sorted(row["labels"] for row in errors) == [0, 0.5, 1]


def test_the_page_is_whole_and_self_contained(store, tmp_path):
    html = write_report(store.runs(), tmp_path / "new" / "r.html").read_text()
    assert html.count('class="tiles"') == 6
    assert len(html) < 6e6
    markup = re.sub(r"<script.*?</script>", "", html, flags=re.S)
    assert not re.findall(r"(?:src|href)=[\"']?(?!data:|#)[^\"' >]+", markup), "nothing is loaded from elsewhere"
    assert 'id="chart-loss"' in html
    assert 'id="chart-corruption"' in html
    assert "not done" not in markup


def test_the_page_says_loudly_what_is_missing_and_escapes_it(broken_store):
    html = page.render(broken_store.runs())
    assert "2 of 4 runs are not done" in html
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
    assert "no finished run" in html


def test_a_page_of_nothing_and_of_models_without_epochs(tmp_path):
    assert "The store holds no runs" in page.render([])
    store = Store(tmp_path)
    run(RunSpec("digits", n_train=100, model="nearest-neighbors"), store)
    html = page.render(store.runs())
    assert "nearest-neighbors on digits" in html
    assert "chart-loss" not in html


def test_of_a_thousand_classes_ten_are_printed(store, capsys):
    done = store.runs()[0]
    done.result["classes"] = [f"class {i}" for i in range(1000)]
    print_stored(done)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("classes")]
    assert line.endswith("'class 9', … 1,000 in all]")
