"""Table 2 and figure 2a: their rows, rules and pages on made-up runs, and a run of Inception V3 on an image folder."""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shattering import Store
from shattering.cli import main
from shattering.experiments import figure2a, reproduce, table2
from shattering.experiments.catalogue import find_experiments
from shattering.experiments.experiment import Runs
from shattering.experiments.reference import N_IMAGENET, TABLE_2
from shattering.experiments.scales import SCALES, ImageNetScale
from shattering.report.charts import to_spec
from shattering.runs.execute import run
from shattering.runs.grid import grid, read_settings
from shattering.runs.stored import Run

IMAGENET = find_experiments("all-imagenet")
SMALL = replace(SCALES["small"], imagenet=replace(SCALES["small"].imagenet, dataset="photos"))
ONE = replace(SMALL, imagenet=replace(SMALL.imagenet, compared_seeds=1))  # fewer than comparisons of test accuracies need
PROVENANCE = {
    "started": "now",
    "seconds": 1.0,
    "versions": {},
    "processor": "p",
    "cores": 1,
    "threads": 1,
    "device": "cpu",
    "git_revision": "r",
}


class Made(Runs):
    """Runs with made-up results, or None: missing."""

    def __init__(self, make, scale=SMALL, **history):
        super().__init__(Store(Path("nowhere")), scale)
        self.make, self.history = make, history

    def _find(self, spec):
        made = self.make(spec)
        found = Run(spec, Path(spec.folder_name), "missing" if made is None else "done", made or {}, PROVENANCE)
        tests = [0.3, (made or {}).get("best_test_accuracy", 0.3), (made or {}).get("test_accuracy", 0.3)]
        columns = {"train_accuracy": [0.1, 0.5, 0.9], "test_accuracy": tests}
        table = pd.DataFrame({"epoch": [1, 2, 3], "step": [10, 20, 30], **columns})
        found.__dict__["history"] = pd.DataFrame(self.history) if self.history else table
        self.seen[spec.run_id] = found
        return found


AUGMENTED = {"augment", "dropout", "weight_decay"}


def row_of(spec):
    """The paper's row of a run."""
    return next(row for row in TABLE_2 if table2.row_specs(SMALL, row)[0].run_id == replace(spec, dataset="photos", seed=0).run_id)


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch):
    """An image folder by its name: two classes, of mixed sizes."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 6), ("test", 2)):
        for k in ("cat", "dog"):
            folder = tmp_path / "photos" / split / k
            folder.mkdir(parents=True)
            for i in range(n):
                Image.fromarray(rng.integers(0, 256, (80, 75 + i, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    monkeypatch.setenv("SHATTERING_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def as_in_the_paper(spec):
    row = row_of(spec)
    best = row.best_top1 or row.test_top1 + 0.3
    made = {"train_accuracy": row.train_top1, "train_top5_accuracy": row.train_top5, "test_accuracy": row.test_top1}
    made |= {"test_top5_accuracy": row.test_top5, "best_test_accuracy": best}
    return {name: value / 100 for name, value in made.items()} | {
        "n_train": N_IMAGENET,
        "n_test": 50_000,
        "n_classes": 1000,
        "image_shape": [3, 299, 299],
        "dataset": "photos",
        "epochs": 3,
        "best_test_epoch": 2,
    }


def claims(make, scale=SMALL):
    return {c.name: c.holds for name in IMAGENET for c in reproduce.find_experiment(name).result(scale, Made(make, scale)).claims}


def test_a_row_is_its_regularizers_switched_on():
    found = {row: table2.row_specs(SMALL, row)[0] for row in TABLE_2}
    assert len({spec.run_id for spec in found.values()}) == 7
    for row, spec in found.items():
        assert spec.params["network"] == "inception-v3"
        assert ("augment" in spec.params, "dropout" in spec.params) == (row.augmentation, row.dropout)
        assert spec.params.get("weight_decay", 0) == (4e-5 if row.weight_decay else 0)
        assert spec.randomization.labels == row.random_labels
    assert [table2.regularizers(row) for row in TABLE_2][:4] == [
        "augmentation, dropout, weight decay",
        "augmentation",
        "weight decay",
        "none",
    ]
    assert {s.run_id for s in figure2a.specs(SMALL)} <= {s.run_id for s in table2.specs(SMALL)}
    assert [s.params.get("weight_decay") for s in table2.specs(SMALL)[:2]] == [None, None], "without regularizers first"


def test_the_papers_own_numbers_satisfy_every_claim_and_spoiled_ones_do_not():
    assert set(claims(as_in_the_paper).values()) == {True}
    spoil = {
        "it fits random labels": lambda s: {"train_accuracy": 0.5} if "weight_decay" not in s.params else {},
        "it fits them with explicit regularizers too": lambda s: {"train_accuracy": 0.86} if "dropout" in s.params else {},
        "augmentation is worth more than weight decay": lambda s: (
            {"test_accuracy": 0.65} if set(s.params) & AUGMENTED == {"augment"} else {}
        ),
        "it generalizes without any": lambda s: {"test_accuracy": 0.3} if "weight_decay" not in s.params else {},
        "regularizers are worth 18 points": lambda s: {"test_accuracy": 0.7} if not s.params.get("weight_decay") else {},
        "near AlexNet without regularizers": lambda s: {"test_top5_accuracy": 0.7} if not s.params.get("weight_decay") else {},
        "early stopping could help": lambda s: {"best_test_accuracy": row_of(s).test_top1 / 100},
    }
    assert set(spoil) == set(claims(as_in_the_paper))
    for name, change in spoil.items():
        assert claims(lambda spec, change=change: as_in_the_paper(spec) | change(spec))[name] is False, name
    assert set(claims(lambda spec: None).values()) == {None}


def test_a_training_that_ended_too_early_does_not_show_that_it_cannot_fit():
    def claim_and_row(losses):
        runs = Made(lambda spec: as_in_the_paper(spec) | {"train_accuracy": 0.5}, train_loss=losses)
        found = table2.result(SMALL, runs)
        return [claim.verdict for claim in found.claims[:2]], found.tables[0].rows[-1]["verdict"]

    assert claim_and_row([7.0] * 8) == (["does not hold"] * 2, "train ≥ 95%: no (paper: yes)")
    short = "inconclusive: the training of inception-v3 ended while its loss still fell"
    assert claim_and_row([7.0, 7.0, 6.0, 6.0, 5.0, 5.0, 4.0, 4.0]) == (["inconclusive"] * 2, short)


def test_the_scales_have_the_seeds_that_a_comparison_during_training_needs():
    for scale in (SMALL, SCALES["full"]):
        seeds = {table2.regularizers(row): len(table2.row_specs(scale, row)) for row in figure2a.ROWS}
        assert seeds == {"none": 3, "weight decay": 3, "augmentation, dropout, weight decay": 1}
        assert {len(table2.row_specs(scale, row)) for row in TABLE_2 if row.random_labels} == {1}


def test_early_stopping_is_not_judged_on_one_seed_or_at_a_high_learning_rate():
    (one,) = figure2a.result(ONE, Made(as_in_the_paper, ONE)).claims
    assert (one.verdict, one.why) == ("inconclusive", "1 seed for some of the numbers, fewer than 3")
    columns = {"step": [1, 2], "epoch": [1, 2], "train_accuracy": [0.1, 0.2], "test_accuracy": [0.1, 0.2]}
    (high,) = figure2a.result(SMALL, Made(as_in_the_paper, SMALL, learning_rate=[1.0, 0.9], **columns)).claims
    assert (high.verdict, high.why[:27]) == ("inconclusive", "the learning rate ended at ")
    (annealed,) = figure2a.result(SMALL, Made(as_in_the_paper, SMALL, learning_rate=[1.0, 0.1], **columns)).claims
    assert annealed.verdict == "holds"


def test_accuracies_of_fewer_images_are_not_compared_with_the_papers():
    found = table2.result(SMALL, Made(lambda spec: as_in_the_paper(spec) | {"n_train": 12})).claims
    compared = {c.name: c.why for c in found if c.verdict == "not comparable"}
    assert set(compared) == {"regularizers are worth 18 points", "near AlexNet without regularizers"}
    assert set(compared.values()) == {"n is 12, and the paper's accuracies are for n = 1,281,167"}


def test_the_documented_commands_make_the_runs_of_the_table():
    page = (Path(__file__).parents[2] / "docs" / "imagenet.md").read_text()
    given = [s.strip("'") for s in re.findall(r"--set (\S+)", page.partition("torchrun")[2])]
    settings = {name: value for name, value in read_settings(given).items() if name != "weight_decay"}
    optional = {name: settings.pop(name) for name in ("dropout", "augment")} | {"weight_decay": 4e-5}
    found = set()
    for labels, names in ((1.0, []), (1.0, ["weight_decay"]), (0.0, ["augment"]), (0.0, ["augment", "dropout", "weight_decay"])):
        params = {name: [optional[name]] for name in names} | {name: [value] for name, value in settings.items()}
        found |= {s.run_id for s in grid({"dataset": "imagenet", "image_size": 299, "labels": labels}, params)}
    assert len(found) == 4
    assert found <= {spec.run_id for spec in table2.specs(SCALES["full"])}


@pytest.mark.parametrize("name", IMAGENET)
def test_pages_have_the_papers_numbers_beside_ours(name, tmp_path):
    result = reproduce.find_experiment(name).result(SMALL, Made(as_in_the_paper))
    assert not result.not_done
    html = unescape(reproduce.render_result(result)).partition("<h2>Provenance")[0]
    assert "n = 1,281,167 of photos at 128x128" in html
    assert html.count(">59.80</td>") == 2, "theirs and ours"
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["experiment"] == name
    files = reproduce.write_result(result, tmp_path / "pages")
    assert len(files) == (4 if name == "figure2a" else 1)


def test_figure_2a_shades_up_to_the_best_so_far():
    chart, _ = figure2a.result(ONE, Made(as_in_the_paper, ONE)).charts["figure2a"]
    data = [row for rows in to_spec(chart)["datasets"].values() for row in rows]
    assert {row["model"] for row in data} == {"none", "weight decay", "augmentation, dropout, weight decay"}
    assert [r["best"] for r in data if r.get("model") == "none" and "best" in r] == pytest.approx([0.3, 0.6316, 0.6316])


def test_without_a_test_split_nothing_is_said_of_testing():
    demo = replace(SCALES["demo"], imagenet=replace(SCALES["demo"].imagenet, dataset="photos"))
    rows = {table2.row_specs(demo, row)[0].run_id: table2.row_specs(SMALL, row)[0] for row in TABLE_2}
    found = claims(lambda spec: as_in_the_paper(rows[spec.run_id]), demo)
    assert set(found.values()) == {None}, "one image per class decides nothing"
    (table,) = table2.result(demo, Made(lambda spec: as_in_the_paper(rows[spec.run_id]), demo)).tables
    assert {row["test_top-1"] for row in table.rows} == {row["test_top-5"] for row in table.rows} == {None}
    assert "nothing to test on" in table.note


def test_a_row_on_an_image_folder(tmp_path, monkeypatch, capsys):
    params = {"epochs": 1, "batch_size": 6, "learning_rate": 0.01}
    small = replace(SMALL, imagenet=ImageNetScale(dataset="photos", image_size=75, params=params))
    monkeypatch.setitem(SCALES, "small", small)
    done = run(table2.specs(small)[0], Store("runs"))
    assert done.result["n_classes"] == 2
    assert main(["paper", "table2", "--scale", "small", "--data", str(tmp_path / "photos"), "--from", "runs", "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["results"]
    assert [r["status"] for r in found["runs"]].count("missing") == 6, "the run is the same by path and by name"
    shown = next(row for row in found["tables"][0]["rows"] if row["labels"] == "random" and row["regularizers"] == "none")
    assert shown["train_top-1"] == done.result["train_accuracy"]
    assert shown["verdict"].startswith("train ≥ 95%")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scale", "small"], "expected --data with an image folder"),
        (["--scale", "small", "--data", "nowhere"], "unknown dataset 'nowhere'"),
        ([], "dataset 'imagenet-sample' is not in SHATTERING_DATA"),
    ],
)
def test_missing_photographs(capsys, arguments, message):
    assert main(["paper", "table2", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_augmentation_that_is_as_good_as_weight_decay_decides_nothing_and_chance_is_no_generalization():
    def judged(change):
        made = table2.result(SMALL, Made(lambda spec: as_in_the_paper(spec) | change(spec))).claims
        return {claim.name: claim for claim in made}

    alone = judged(lambda s: {"test_accuracy": 0.673} if set(s.params) & AUGMENTED == {"augment"} else {})
    claim = alone["augmentation is worth more than weight decay"]
    assert (claim.verdict, claim.why) == ("inconclusive", "the difference is within two standard errors")
    assert judged(lambda s: {"test_accuracy": 0.001})["it generalizes without any"].verdict == "does not hold", "all are at chance"
