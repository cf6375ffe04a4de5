"""Against the real libraries, offline: what they stored is read back and is what the run stored."""

import json
import os
import struct
import sys
import time
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shattering import InputError, Randomization, RunSpec, Store, run, sweep
from shattering.cli import main
from shattering.runs.loggers import LOGGERS, logger_names
from shattering.runs.permutations import PermutationsSpec
from shattering.runs.study import StudySpec

PARAMS = {"epochs": 4, "batch_size": 50, "device": "cpu", "checkpoint_every": 0}
SPEC = RunSpec("digits", n_train=100, n_test=50, randomization=Randomization(0.5), params=PARAMS)
# SQLAlchemy 2.1's own word to MLflow 3.17, which asks it for a loader strategy that is to go
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning")


class TensorBoardFiles:
    def __init__(self, folder: Path):
        self.log, self.folder = f"tensorboard:{folder / 'tb'}", folder / "tb"

    def read(self, done) -> tuple[dict, dict, dict]:
        """Parameters; column → {epoch: value}; results."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.plugins.hparams import plugin_data_pb2

        events = EventAccumulator(str(self.folder / done.folder.name)).Reload()
        content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        given = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
        parameters = {name: getattr(value, value.WhichOneof("kind")) for name, value in given.items()}
        scalars = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
        for points in scalars.values():
            assert len({point.step for point in points}) == len(points), "an epoch was logged twice"
        columns = {tag: {point.step: point.value for point in points} for tag, points in scalars.items()}
        return parameters, *split(columns)


class MLflowDatabase:
    def __init__(self, folder: Path):
        self.log = f"mlflow:sqlite:///{folder / 'mlflow.db'}"

    def read(self, done) -> tuple[dict, dict, dict]:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(self.log.removeprefix("mlflow:"))
        experiment = client.get_experiment_by_name("shattering").experiment_id
        (found,) = client.search_runs([experiment], f"tags.`shattering.run_id` = '{done.run_id}'")
        assert found.info.status == "FINISHED"
        assert found.info.run_name == done.folder.name
        assert [file.path for file in client.list_artifacts(found.info.run_id)] == ["examples.png"]
        columns = {}
        for name in found.data.metrics:
            points = client.get_metric_history(found.info.run_id, name)
            assert len({point.step for point in points}) == len(points), "an epoch was logged twice"
            columns[name] = {point.step: point.value for point in points}
        return found.data.params, *split(columns)


class WandBFiles:
    def __init__(self, folder: Path):
        self.log, self.folder = "wandb:project", folder / "wandb"

    def read(self, done) -> tuple[dict, dict, dict]:
        path = max(self.folder.glob(f"offline-run-*-{done.run_id}/*.wandb"))
        records, deadline = [*wandb_records(path)], time.monotonic() + 60
        while not any(record.HasField("exit") for record in records) and time.monotonic() < deadline:  # written behind finish()
            time.sleep(0.05)
            records = [*wandb_records(path)]
        (started,) = {record.run.SerializeToString(): record.run for record in records if record.HasField("run")}.values()
        assert (started.run_id, started.display_name, started.project) == (done.run_id, done.folder.name, "project")
        parameters = {item.key: json.loads(item.value_json) for item in started.config.update if item.key != "_wandb"}
        columns, results = {}, {}
        for record in records:
            row = {key_of(item): json.loads(item.value_json) for item in record.history.item}  # with NaN, which JSON has not
            for name, value in row.items():
                if isinstance(value, (int, float)) and not name.startswith(("_", "examples")):
                    columns.setdefault(name, {})[record.history.step.num] = value
            results |= {key_of(item): json.loads(item.value_json) for item in record.summary.update}
        return parameters, columns, {name.removeprefix("result/"): v for name, v in results.items() if name.startswith("result/")}


def key_of(item) -> str:
    return item.key or ".".join(item.nested_key)


def wandb_records(path: Path):
    """The records of a .wandb file: seven bytes, then LevelDB's log format, in which blocks of 32 KiB hold pieces of records."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, record = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(record)
            record = b""


def split(columns: dict) -> tuple[dict, dict]:
    history = {name: points for name, points in columns.items() if not name.startswith("result/")}
    return history, {name.removeprefix("result/"): max(p.items())[1] for name, p in columns.items() if name.startswith("result/")}


def plain(value) -> float | str:
    """MLflow's parameters are text, TensorBoard's are float or text."""
    text = {"True": "1", "False": "0"}.get(str(value), str(value))
    return float(text) if text.replace(".", "").isdigit() else text


def numbers(result: dict) -> dict:
    return {name: value + 0 for name, value in result.items() if isinstance(value, (int, float))}  # True is 1


def assert_same(done, logger, rel) -> None:
    """What a logger has is what the run stored, all of it and nothing else, up to a relative error."""
    parameters, columns, results = logger.read(done)
    expected = {"run_id": done.run_id, "folder": done.folder.name, "dataset": "digits", "n_train": 100, "n_test": 50, "model": "network"}
    expected |= {f"params.{name}": value for name, value in done.spec.params.items()} | {"seed": done.spec.seed}
    expected |= {"randomization.labels": 0.5, "randomization.pixels": "true"}
    expected |= {"randomization.label_mode": "redraw", "randomization.permute_channels": False, "randomization.exchange": "free"}
    expected |= {"skip_corrupt": False, "hold_out": True}
    assert {name: plain(value) for name, value in parameters.items()} == {name: plain(value) for name, value in expected.items()}
    history = done.history.set_index("epoch", drop=False)
    made = {name: column.dropna() if name.startswith("full_") else column for name, column in history.items()}
    assert columns.keys() == {name for name, column in made.items() if len(column)}
    for name, points in columns.items():
        assert points == pytest.approx(made[name].to_dict(), rel=rel, nan_ok=True), name
    assert results == pytest.approx(numbers(done.result), rel=rel, nan_ok=True)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """One database for the module: MLflow takes seconds to make one."""
    return tmp_path_factory.mktemp("loggers")


@pytest.fixture
def offline(shared, monkeypatch):
    """W&B reads its environment when a process first uses it, so it is made to forget."""
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(shared), "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    yield
    import wandb

    wandb.teardown()


@pytest.fixture(params=["tensorboard", "mlflow", "wandb"])
def logger(request, shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if request.param == "wandb":
        request.getfixturevalue("offline")
        return WandBFiles(shared)
    return TensorBoardFiles(tmp_path) if request.param == "tensorboard" else MLflowDatabase(shared)


REL = {TensorBoardFiles: 1e-6, MLflowDatabase: 0, WandBFiles: 0}  # TensorBoard keeps float32


def test_a_sweeps_workers_log_at_once(shared, tmp_path, monkeypatch):  # the first to use the database: its workers make it
    monkeypatch.chdir(tmp_path)
    loggers = [MLflowDatabase(shared), TensorBoardFiles(tmp_path)]
    runs = sweep([replace(SPEC, seed=s) for s in (5, 6)], Store(tmp_path / "runs"), jobs=2, log=[t.log for t in loggers])
    for done in runs:
        assert done.status == "done"
        for logger in loggers:
            _, columns, results = logger.read(done)
            assert columns["test_accuracy"] == pytest.approx(done.history.set_index("epoch")["test_accuracy"].to_dict(), rel=1e-6)
            assert results["test_accuracy"] == pytest.approx(done.result["test_accuracy"], rel=1e-6)


def test_a_logger_has_the_history_and_the_results(logger, tmp_path):
    assert_same(run(SPEC, Store(tmp_path / "runs"), log=logger.log), logger, REL[type(logger)])


def test_a_resumed_run_goes_on_where_it_was(logger, tmp_path):
    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    store, spec = Store(tmp_path / "runs"), replace(SPEC, params={**PARAMS, "momentum": 0.5})
    with pytest.raises(KeyboardInterrupt):
        run(spec, store, on_epoch=stop, log=logger.log)
    time.sleep(1.1)  # W&B names its folders by the second
    resumed = run(spec, store, log=[logger.log])
    assert resumed.provenance["resumed"]
    assert_same(resumed, logger, REL[type(logger)])


def test_a_diverged_run_shows_it(logger, tmp_path):
    done = run(replace(SPEC, params={**PARAMS, "learning_rate": 1e30}), Store(tmp_path / "runs"), log=logger.log)
    assert done.result["diverged"]
    assert_same(done, logger, REL[type(logger)])


def test_a_study_is_logged_too(tmp_path):
    logger = TensorBoardFiles(tmp_path)
    done = run(StudySpec("polynomial"), Store(tmp_path / "runs"), log=logger.log)
    parameters, columns, results = logger.read(done)
    assert parameters["study"] == "polynomial"
    assert columns == {}
    assert results == pytest.approx(numbers(done.result), rel=1e-6)


def test_the_picture_is_the_stored_one(tmp_path):
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardFiles(tmp_path)
    done = run(SPEC, Store(tmp_path / "runs"), log=logger.log)
    (image,) = EventAccumulator(str(logger.folder / done.folder.name)).Reload().Images("examples")
    (tmp_path / "seen.png").write_bytes(image.encoded_image_string)
    seen, stored = (np.asarray(Image.open(path).convert("L")) for path in (tmp_path / "seen.png", done.folder / "examples.png"))
    assert (seen == stored).all()


class Memory:
    """A logger of somebody's own, which fails at `fails_at`."""

    def __init__(self, fails_at=None):
        self.fails_at, self.rows, self.events = fails_at, [], []

    def start(self, parameters):
        self.events.append("start")
        self.parameters = parameters
        self.fail("start")

    def epoch(self, row):
        self.rows.append(row)
        self.fail(row["epoch"])

    def finish(self, results, picture):
        self.events.append("finish")
        self.results, self.picture = results, picture
        self.fail("finish")

    def fail(self, where):
        if where == self.fails_at:
            raise OSError("the network\nis down")


@pytest.mark.parametrize(("where", "told"), [("start", 0), (2, 2), ("finish", 4)])
def test_a_logger_that_raises_is_left_out_once_and_the_run_goes_on(tmp_path, where, told):
    broken, sound = Memory(where), Memory()
    with pytest.warns(
        UserWarning, match=r"^Memory failed and gets nothing more of digits-\S+, which goes on: OSError: the network$"
    ) as seen:
        done = run(SPEC, Store(tmp_path), log=[broken, sound])
    assert len(seen) == 1
    assert done.status == "done"
    assert len(broken.rows) == told
    pd.testing.assert_frame_equal(pd.DataFrame(sound.rows), done.history[sound.rows[0].keys()])
    assert sound.results["test_accuracy"] == done.result["test_accuracy"]
    assert sound.picture == done.folder / "examples.png"


def test_logging_changes_neither_the_run_nor_its_identity_and_a_done_run_is_not_logged(tmp_path):
    plain, logged = run(SPEC, Store(tmp_path / "a")), run(SPEC, Store(tmp_path / "b"), log=Memory())
    assert plain.folder.name == logged.folder.name
    for name in ("history.parquet", "model.safetensors", "result.json", "spec.json"):
        assert (plain.folder / name).read_bytes() == (logged.folder / name).read_bytes(), name
    again = Memory()
    with pytest.warns(UserWarning, match=f"run {logged.folder.name} was done before, and is not logged again"):
        run(SPEC, Store(tmp_path / "b"), log=again)
    assert again.events == []


def test_a_run_that_fails_is_finished_without_results(tmp_path):
    memory = Memory()
    with pytest.raises(InputError, match="n_train is 5000"):
        run(replace(SPEC, n_train=5000), Store(tmp_path), log=memory)
    assert memory.events == ["start", "finish"]
    assert memory.results is memory.picture is None


def test_rows_without_an_epoch_are_not_logged(tmp_path):
    memory, rows = Memory(), []
    fits = RunSpec("digits", 60, 30, model="nearest-neighbors", randomization=Randomization(1, label_mode="permute"), data_seed=0)
    done = run(PermutationsSpec(fits, (1, 2)), Store(tmp_path), log=memory, on_epoch=rows.append)
    assert (memory.events, memory.rows, len(rows)) == (["start", "finish"], [], 2)
    assert memory.results["mean_score"] == done.result["mean_score"]


def test_a_server_that_cannot_be_reached(offline, tmp_path, monkeypatch):
    nobody = "http://127.0.0.1:9"
    for name, value in {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "WANDB_BASE_URL": nobody, "WANDB_API_KEY": "k" * 40}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")
    monkeypatch.setenv("WANDB_MODE", "online")
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="failed and gets nothing more") as seen:
        done = run(SPEC, Store(tmp_path / "runs"), log=[f"tensorboard:{tmp_path / 'file'}", f"mlflow:{nobody}", "wandb:project"])
    assert done.status == "done"
    assert sorted(str(w.message).split()[0] for w in seen) == ["MLflow", "TensorBoard", "WandB"]


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        ("comet:mine", "unknown logger 'comet'; known: mlflow, tensorboard, wandb"),
        ("tensorboard", "log 'tensorboard' names no folder, expected tensorboard:FOLDER"),
        (["wandb", 3], "log has 3, expected a name .mlflow, tensorboard, wandb. or an object with start, epoch and finish"),
        (Memory, "log has <class .*Memory'>, expected a name"),
    ],
)
def test_bad_logs_are_refused_before_anything_is_stored(tmp_path, log, sentence):
    with pytest.raises(InputError, match=sentence):
        run(SPEC, Store(tmp_path / "runs"), log=log)
    with pytest.raises(InputError, match=sentence):
        sweep([SPEC], Store(tmp_path / "runs"), log=log)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", LOGGERS)
def test_a_library_that_is_not_installed(monkeypatch, name):
    sentence = rf'log {name!r} needs the package {name}, which is not installed: pip install "shattering\[{name}\]"'
    with monkeypatch.context() as m:
        m.setitem(sys.modules, name, None)
        with pytest.raises(InputError, match=sentence):
            logger_names(f"{name}:x")
    with monkeypatch.context() as m:  # a folder of its name, which W&B itself leaves, is no library
        m.setattr("shattering.runs.loggers.find_spec", lambda package: ModuleSpec(package, None, is_package=True))
        with pytest.raises(InputError, match=sentence):
            logger_names(f"{name}:x")


def test_mlflow_without_its_database(monkeypatch):
    monkeypatch.setitem(sys.modules, "alembic", None)
    with pytest.raises(InputError, match="log 'mlflow' needs the package alembic"):
        logger_names("mlflow:sqlite:///x.db")
    assert logger_names("mlflow:http://127.0.0.1") == ("mlflow:http://127.0.0.1",)


def test_objects_are_refused_for_sweeps(tmp_path):
    with pytest.raises(InputError, match=r"log of a sweep has a Memory, expected names .*: its runs are processes of their own"):
        sweep([SPEC], Store(tmp_path / "runs"), log=Memory())
    assert not (tmp_path / "runs").exists()


def test_the_command_line(tmp_path, capsys):
    options = ["--n-train", "100", "--n-test", "50", "--set", "epochs=2", "--set", "device=cpu", "--store", str(tmp_path / "runs")]
    assert main(["run", *options, "--log", f"tensorboard:{tmp_path / 'a'}", "--log", f"tensorboard:{tmp_path / 'b'}"]) == 0
    (done,) = Store(tmp_path / "runs").runs()
    for name in "ab":
        assert list((tmp_path / name / done.folder.name).glob("events.out.tfevents.*"))
    assert main(["sweep", *options, "--log", "nonsense"]) == 1
    assert capsys.readouterr().err == "shattering: unknown logger 'nonsense'; known: mlflow, tensorboard, wandb\n"


@pytest.mark.parametrize(
    ("log", "name", "quiet", "others"),
    [("mlflow:x", "MLFLOW_DISABLE_TELEMETRY", "true", ["DO_NOT_TRACK"]), ("wandb:x", "WANDB_ERROR_REPORTING", "false", [])],
)
def test_libraries_tell_their_makers_nothing_unless_the_user_has_chosen(monkeypatch, log, name, quiet, others):
    for variable in (name, *others):
        monkeypatch.setenv(variable, "")  # put back afterwards
        monkeypatch.delenv(variable)
    logger_names(log)
    assert os.environ[name] == quiet
    if log.startswith("mlflow"):
        from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY

        assert MLFLOW_DISABLE_TELEMETRY.get() is True
    else:
        from wandb.env import error_reporting_enabled

        assert error_reporting_enabled() is False
    for variable in (name, *others):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(variable, "0")
        logger_names(log)
        assert os.environ[variable] == "0"
        assert variable == name or name not in os.environ
        monkeypatch.delenv(variable)


def test_a_tilde_in_the_folder_of_tensorboard_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert LOGGERS["tensorboard"]("~/events").folder == tmp_path / "events"  # type: ignore[attr-defined]  # TensorBoard has it
