import json
import subprocess
import sys

import pytest

from shattering import Randomization
from shattering import cli as commands
from shattering.cli import main
from shattering.experiments import demo
from shattering.learners.train import checkpoint
from tests.data.test_load import encode, pictures, write_folder, write_parquet
from tests.networks.test_networks import PAPER
from tests.programs import Program

QUICK = ["--n-train", "100", "--n-test", "50", "--set", "epochs=2", "--set", "device=cpu"]


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_run_status_show_and_report(cli, tmp_path):
    code, out, _ = cli("run", "--labels", "0.5", *QUICK, "--json")
    assert code == 0
    run = json.loads(out)
    assert run["spec"] == {
        "n_train": 100,
        "n_test": 50,
        "randomization": run["spec"]["randomization"],
        "params": {"epochs": 2, "device": "cpu"},
    }
    code, out, _ = cli("run", "--labels", "0.5", *QUICK)
    assert f"{run['result']['test_accuracy']:.4f}" in out
    code, out, _ = cli("status", "--json")
    assert [r["run_id"] for r in json.loads(out)] == [run["run_id"]]
    code, out, _ = cli("status")
    assert out.splitlines()[-1] == "1 done"
    code, out, _ = cli("show", run["run_id"][:6])
    assert "changed_fraction" in out
    assert "git_revision" in out
    code, out, _ = cli("show", run["run_id"], "--json")
    assert len(json.loads(out)["history"]) == 2
    code, out, _ = cli("report", "--out", "r.html")
    assert (code, (tmp_path / "r.html").exists()) == (0, True)


def test_a_run_is_found_by_its_folder_in_any_store(cli, tmp_path):
    assert cli("run", *QUICK, "--store", "mine")[0] == 0
    (folder,) = (tmp_path / "mine").iterdir()
    for name in (f"mine/{folder.name}", f"./mine/{folder.name}/", str(folder)):
        for more in ((), ("--store", "mine")):
            assert f"{folder.name}: done" in cli("show", name, *more)[1]
    assert "n_parameters" in cli("measure", f"mine/{folder.name}", "--only", "n_parameters")[1]
    assert "store runs does not exist" in cli("show", "mine/none")[2]


def test_every_option_of_run_reaches_the_spec(cli):
    options = ["--pixels", "random", "--label-mode", "flip", "--labels", "1", "--permute-channels", "--seed", "3", "--data-seed", "4"]
    code, out, _ = cli("run", *options, "--noise-seed", "5", "--data", "digits", *QUICK, "--store", "s", "--json")
    assert code == 0
    spec = json.loads(out)["spec"]
    assert spec["randomization"] == {"labels": 1.0, "pixels": "random", "label_mode": "flip", "permute_channels": True, "exchange": "free"}
    assert (spec["seed"], spec["data_seed"], spec["noise_seed"]) == (3, 4, 5)
    code, out, _ = cli("run", "--model", "random-forest", "--set", "n_estimators=5", "--n-train", "50", "--json")
    assert json.loads(out)["spec"]["model"] == "random-forest"


def test_sweep_by_options_and_by_file(cli, tmp_path):
    code, out, _ = cli("sweep", "--labels", "0,1", "--seed", "0,1", *QUICK, "--json", "--jobs", "2")
    assert (code, len(json.loads(out)["runs"])) == (0, 4)
    (tmp_path / "grid.toml").write_text('labels = [0, 1]\nseed = [0, 1]\nn_train = 100\nn_test = 50\nset = {epochs = 2, device = "cpu"}\n')
    code, out, err = cli("sweep", "grid.toml")
    assert code == 0
    assert err == "", "nothing was left to run"
    assert "random labels" in out
    assert "mlp-1x512" in out


def test_lists(cli):
    for what in ("datasets", "networks", "models", "measures"):
        code, out, _ = cli("list", what)
        assert code == 0
        names = [row["name"] for row in json.loads(cli("list", what, "--json")[1])]
        assert [line.split()[0] for line in out.splitlines()[: len(names) + 1]] == ["NAME", *names]
    assert "Needs: W weights" in out, "the letters are explained"
    rows = {row["name"]: row["parameters"] for row in json.loads(cli("list", "networks", "--json")[1])}
    assert {name: rows[name] for name in PAPER} == PAPER


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["rnu"], 2, "unknown command 'rnu'; did you mean 'run'?"),
        (["run", "--labls", "1"], 2, "--labls"),
        (["run", "--labels", "x"], 2, "--labels"),
        (["list", "recipes"], 2, "recipes"),
        (["show"], 2, "show"),
        (["run", "--labels", "2"], 2, "--labels is '2', expected a probability of corruption in 0…1"),
        (["run", "--pixels", "noise"], 2, "unknown --pixels 'noise'; known:"),
        (["run", "--data", "cifar11"], 1, "unknown dataset 'cifar11'; did you mean 'cifar10'?"),
        (["run", "--model", "svm"], 1, "unknown model 'svm'; known:"),
        (["run", "--set", "network=vgg"], 1, "unknown network 'vgg'; known:"),
        (["run", "--model", "net.py:net"], 1, "model is 'net.py:net', expected a name of `shattering list models`; `shattering test` and"),
        (["run", "--set", "network=net.py:net"], 1, "network is 'net.py:net', expected a name of `shattering list networks`; `shattering"),
        (["run", "--set", "epoch=3"], 1, "unknown parameter of model 'network': 'epoch'"),
        (["run", "--set", "epochs"], 1, "--set is 'epochs', expected name=value"),
        (["run", "--set", "device=abacus"], 1, "device is 'abacus', expected a device of torch"),
        (["run", "--n-train", "99999"], 1, "n_train is 99999, expected 1…1297"),
        (["sweep"], 2, "sweep got neither a file nor an option"),
        (["sweep", "none.toml"], 1, "sweep file none.toml is not there, expected a TOML or JSON file"),
        (["sweep", "none.toml", "--seed", "1"], 2, "sweep got the file none.toml and --seed, expected one or the other"),
        (["sweep", "--seed", "1", "--jobs", "0"], 2, "--jobs is '0', expected a whole number of at least 1"),
        (["sweep", "--labels", "0,half"], 1, "labels is 'half'"),
        (["status"], 1, "store runs does not exist"),
        (["status", "--store", "/dev/null"], 1, "store /dev/null is a file"),
        (["show", "abc"], 1, "store runs does not exist"),
        (["report"], 1, "store runs does not exist"),
    ],
)
def test_errors_are_one_line(cli, arguments, code, message):
    status, out, err = cli(*arguments)
    assert status == code
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_bad_images_are_one_line(cli, tmp_path):
    write_folder(tmp_path / "empty")
    (tmp_path / "empty" / "train" / "dog").mkdir()
    write_folder(tmp_path / "corrupt")
    (tmp_path / "corrupt" / "train" / "cat" / "1.jpg").write_bytes(encode(pictures(1)[0], "JPEG")[:200])
    write_parquet(tmp_path / "lacking" / "train-00000-of-00002.parquet", pictures(4), [0, 1, 0, 1])
    for name, message in (
        ("empty", "the train split of empty has no example of 1 of 3 classes (such as 'dog'), expected some of each"),
        ("corrupt", f"{tmp_path}/corrupt/train/cat/1.jpg is not a readable image: "),
        ("lacking", f"{tmp_path}/lacking lacks 1 of 2 shards (first: train-00001-of-00002.parquet), expected all"),
    ):
        code, _, err = cli("run", "--data", tmp_path / name, "--image-size", "32", *QUICK[4:])
        assert (code, err.count("\n")) == (1, 1)
        assert err.startswith(f"shattering: {message}")


def test_runs_that_another_number_of_processes_began_are_one_line(cli, tmp_path, monkeypatch):
    command = ["run", *QUICK, "--set", "network=mlp-1x16", "--set", "dropout=0.5", "--set", "checkpoint_every=0", "--store", tmp_path]
    save = checkpoint.save_checkpoint

    def save_as_two_and_stop(*arguments):
        save(*arguments[:-1], 2)
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(checkpoint, "save_checkpoint", save_as_two_and_stop)
        assert cli(*command)[0] == 130
    code, _, err = cli(*command)
    assert (code, err.count("\n")) == (1, 1)
    assert "is of 2 processes and this training has 1, expected 2: " in err


def test_a_sweep_with_a_failed_run_exits_with_1(cli):
    code, out, err = cli("sweep", "--n-train", "99999", "--seed", "0")
    assert code == 1
    assert "n_train is 99999" in err
    assert "1 not done" in out


def test_help_imports_nothing_heavy():
    code = """
import sys
from shattering.cli import main
assert main(["run", "--help"]) == 0
print(sorted(set(sys.modules) & {"torch", "numpy", "pandas", "sklearn", "pyarrow"}))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
    assert "--permute-channels" in out


def test_output_cut_short_is_no_error(tmp_path):
    command = [sys.executable, "-m", "shattering", "list", "networks"]
    pipes = {"stdout": subprocess.PIPE, "text": True}
    with Program(command, stderr=subprocess.PIPE, cwd=tmp_path, **pipes) as program:
        with subprocess.Popen(["head", "-1"], stdin=program.stdout, **pipes) as head:
            program.stdout.close()
            assert head.stdout.read().startswith("NAME")
        assert program.stderr.read() == ""


def test_demo(cli, tmp_path, monkeypatch):
    """The demonstration, as `make demo` gives it, with the labels that take a network most epochs to fit."""
    specs = demo.demo_specs()
    assert len(specs) == 16
    ends = Randomization(), Randomization(1.0)
    kept = [s for s in specs if s.randomization in ends or (s.model_name == "mlp-1x512" and s.randomization.labels in (0, 0.75))]
    monkeypatch.setattr(demo, "demo_specs", lambda seed: kept)
    code, out, _ = cli("demo", "--out", "demo.html")
    assert code == 0
    assert f"Report: {tmp_path / 'demo.html'}" in out
    for network in ("mlp-1x512", "small-cnn"):
        assert f"{network} fits random labels on 1,000 examples of digits" in out
    runs = json.loads(cli("status", "--json")[1])
    assert len(runs) == 8
    assert all(r["result"]["interpolated"] for r in runs), [r["folder"] for r in runs if not r["result"]["interpolated"]]
    kinds = [r["spec"].get("randomization", {"labels": 0, "pixels": "true"}) for r in runs]
    noise = [r for r, kind in zip(runs, kinds, strict=True) if kind["labels"] == 1 or kind["pixels"] in ("random", "gaussian")]
    assert len(noise) == 4
    assert all(abs(r["result"]["test_accuracy"] - 0.1) < 0.08 for r in noise)


def test_the_front_door(cli, tmp_path):
    (tmp_path / "users_model.py").write_text("from sklearn.naive_bayes import GaussianNB\ndef build():\n    return GaussianNB()\n")
    sizes = ["--data", "digits", "--n-train", "200", "--n-test", "100", "--n-permutations", "2"]
    code, out, err = cli("test", "users_model.py:build", *sizes, "--budget", "5min")
    assert code == 0
    assert "GaussianNB on digits, n = 200" in out
    assert "random labels (permuted)" in out
    assert "Report: " in out
    assert "12/12 steps" in err
    assert (tmp_path / "report.html").exists()
    names = ["--randomizations", "permuted-labels,within-class", "--set", "n_neighbors=3", "--out", "other.html", "--json"]
    code, out, _ = cli("test", "sklearn.neighbors:KNeighborsClassifier", *sizes, *names)
    test = json.loads(out)
    assert [row["randomization"] for row in test["table"]] == ["original data", "random labels (permuted)", "pixels permuted within class"]
    assert test["p_value"] == pytest.approx(1 / 3)
    code, out, _ = cli("status")
    assert out.splitlines()[-1] == "18 done"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "unknown model 'nonsense'"),
        (["missing.py:build"], "missing.py does not exist, expected a Python file"),
        (["sklearn.svm:Nothing"], "sklearn.svm has no 'Nothing'"),
        (["random-forest", "--data", "nowhere"], "unknown dataset 'nowhere'"),
        (["random-forest", "--budget", "soon"], "budget is 'soon', expected a time such as '90s', '5min' or '1h'"),
        (["random-forest", "--randomizations", "noise"], "unknown randomization 'noise'"),
        (["random-forest", "--set", "nonsense=1"], "unknown parameter of model 'random-forest': 'nonsense'"),
        (["sklearn.svm:SVC", "--set", "nonsense=1"], "unknown parameter of SVC: 'nonsense'"),
    ],
)
def test_bad_input_to_the_front_door(cli, arguments, message):
    code, out, err = cli("test", *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("shattering: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_warning_of_ours_is_a_sentence_and_one_of_others_as_python_has_it():
    ours = commands._told(UserWarning("a column is left out"), UserWarning, commands.__file__, 3)
    assert ours == "shattering: a column is left out\n"
    for category, file in ((UserWarning, pytest.__file__), (DeprecationWarning, commands.__file__)):
        assert f"{category.__name__}: old" in commands._told(category("old"), category, file, 3)
