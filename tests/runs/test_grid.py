import json

import pytest

from shattering import InputError, grid
from shattering.runs.grid import read_axis, read_grid, read_settings


def test_axes_are_read_by_their_fields():
    assert read_axis("pixels", "true,shuffled", "--pixels") == ["true", "shuffled"]
    assert read_axis("permute_channels", "true,False", "--permute-channels") == [True, False]
    assert read_axis("n_train", "1e2, none", "--n-train") == [100, None]
    assert read_axis("dataset", '1,none,"a,b"', "--data") == ["1", "none", "a,b"]
    assert read_axis("labels", "0,0.5,1", "--labels") == [0, 0.5, 1]
    assert read_axis("exchange", "free,shift", "--exchange") == ["free", "shift"]
    assert read_axis("scoring", "none,roc_auc_ovr", "--scoring") == [None, "roc_auc_ovr"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("permute_channels", "no", "--x is 'no', expected true or false"),
        ("pixels", "true,shufled", "unknown --x 'shufled'; did you mean 'shuffled'?"),
        ("exchange", "free,hole", "unknown --x 'hole'; did you mean 'whole'?"),
        ("seed", ",", "--x is ',', expected a value, or several with a comma between two"),
        ("seed", "0,,1", "--x is '0,,1', expected a value"),
        ("labels", "", "--x is '', expected a value"),
        ("seed", "0,1,0", "--x has 0 twice, expected each value once"),
        ("labels", "1,1.0", "--x has 1.0 twice"),
        ("seed", "none", "--x is 'none', expected a whole number of at least 0"),
        ("seed", "1.5", "--x is '1.5', expected a whole number"),
        ("n_train", "[1,2]", "--x is '[1,2]', expected a whole number of at least 1 or none"),
    ],
)
def test_bad_axes(name, text, message):
    with pytest.raises(InputError) as caught:
        read_axis(name, text, "--x")
    assert message in str(caught.value)


def made(*settings, **axes):
    return [spec.params for spec in grid(axes, read_settings(settings, lists=True))]


def test_settings_are_read_by_their_parameters():
    assert made('augment=["crop","flip"]') == [{"augment": ["crop", "flip"]}]
    assert made('augment=["crop","flip"],none,flip') == [{"augment": ["crop", "flip"]}, {"augment": None}, {"augment": "flip"}]
    assert made('augment={"crop": 2, "flip": 0.5}, {"flip": null}') == [{"augment": {"crop": 2, "flip": 0.5}}, {"augment": {"flip": None}}]
    assert made("batch-size=1e2,7", "epochs=3") == [{"batch_size": 100, "epochs": 3}, {"batch_size": 7, "epochs": 3}]
    both = grid({"model": ["kernel", "random-conv"]}, read_settings(["ridge=0,0.1"], lists=True))
    assert [(s.model, s.params["ridge"]) for s in both] == [("kernel", 0), ("kernel", 0.1), ("random-conv", 0), ("random-conv", 0.1)]
    (one,) = grid({"model": "random-forest"}, read_settings(["max_features=1.0"]))
    assert type(one.params["max_features"]) is float, "all features, and not one"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["epochs"], "--set is 'epochs', expected name=value"),
        (["=3"], "--set is '=3', expected name=value"),
        (["epochs="], "epochs is '', expected a value"),
        (["epochs=3,"], "epochs is '3,', expected a value"),
        (["epochs=3", "epochs=4"], "--set epochs is given twice, expected once, with commas between its values"),
        (["batch-size=3", "batch_size=4"], "batch_size is set twice, as 'batch_size' too, expected once"),
        (["epochs=3,3.0"], "epochs has 3 twice"),
        (["epochs=3,many"], "epochs is 'many', expected a whole number of at least 1"),
        (["epoch=3"], "unknown parameter of model 'network': 'epoch'; did you mean 'epochs'?"),
        (["augment=cropp"], "unknown augmentation 'cropp'; did you mean 'crop'?"),
        (['augment=["crop"'], "unknown augmentation"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError) as caught:
        made(*settings)
    assert message in str(caught.value)


def test_grid_tells_one_feature_from_all():
    assert [params["max_features"] for params in made("max_features=1,1.0,sqrt", model="random-forest")] == [1, 1.0, "sqrt"]
    with pytest.raises(InputError, match=r"max_features has '1\.0' twice"):
        made("max_features=1,1.0,1e0", model="random-forest")


def test_grid_takes_each_value_once():
    assert [spec.seed for spec in grid({"seed": range(3)})] == [0, 1, 2]
    with pytest.raises(InputError, match="seed has 1 twice, expected each value once"):
        grid({"seed": [1, 1]})
    with pytest.raises(InputError, match=r"unknown model \[1\]"):
        grid({"model": [[1]]})


def write(path, text):
    (path.write_bytes if isinstance(text, bytes) else path.write_text)(text)
    return path


def test_files_are_read_by_the_same_rules(tmp_path):
    text = 'pixels = ["true", "shuffled"]\nn_train = ["none", 50]\nset = {augment = [["crop", "flip"], "none"], epochs = "1e1"}\n'
    specs = read_grid(write(tmp_path / "a.toml", text))
    assert [(s.randomization.pixels, s.n_train) for s in specs[::2]] == [("true", None), ("true", 50), ("shuffled", None), ("shuffled", 50)]
    assert [s.params for s in specs[:2]] == [{"augment": ["crop", "flip"], "epochs": 10}, {"augment": None, "epochs": 10}]
    as_json = {"pixels": ["true", "shuffled"], "n_train": [None, 50], "set": {"augment": [["crop", "flip"], None], "epochs": 10}}
    for text in (json.dumps(as_json), json.dumps([as_json]), json.dumps({"grid": [as_json]})):
        assert [s.run_id for s in read_grid(write(tmp_path / "a.JSON", text))] == [s.run_id for s in specs]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "5", "holds 5, expected a table of axes, or a list of such tables"),
        ("a.json", "null", "holds None, expected a table"),
        ("a.json", '"x"', "holds 'x', expected a table"),
        ("a.json", "[]", "is an empty list, expected at least one table of axes"),
        ("a.json", "{}", "has a table without a value, expected at least one axis in each, such as seed = [0, 1]"),
        ("a.json", "[{}]", "has a table without a value"),
        ("a.json", "[[1]]", "holds [1], expected a table"),
        ("a.json", '{"grid": 3}', "holds 3, expected a table"),
        ("a.json", '{"grid": [], "seed": 1}', "has 'seed' beside grid, expected it within the tables of grid"),
        ("a.json", '{"seed": 1, "seed": 2}', "is not readable as JSON: 'seed' stands twice"),
        ("a.json", '{"labels": NaN}', "is not readable as JSON: NaN is no JSON"),
        ("a.json", "{", "is not readable as JSON: "),
        ("a.json", "", "is not readable as JSON: "),
        ("a.json", "[" * 100_000, "expected JSON that is nested less deeply"),
        ("a.json", b'{"dataset": "\xff"}', "expected JSON in UTF-8"),
        ("a.json", '{"set": [1], "seed": 1}', "set in sweep file"),
        ("a.json", '{"permute_channels": "no"}', "permute_channels is 'no', expected true or false"),
        ("a.json", '{"seed": true}', "seed is True, expected a whole number of at least 0"),
        ("a.json", '{"pixels": true}', "unknown pixels True; did you mean 'true'?"),
        ("a.json", '{"dataset": 1}', "dataset is 1, expected a text"),
        ("a.json", '{"dataset": ""}', "dataset is '', expected a name or a path"),
        ("a.toml", "", "has a table without a value"),
        ("a.toml", "seed = 1\nseed = 2", "is not readable as TOML: "),
        ("a.toml", "labels = nan", "labels is nan, expected a probability of corruption in 0…1"),
        ("a.toml", "labels = [0.5, inf]", "labels is inf, expected a probability"),
        ("a.toml", "set = {learning_rate = nan}", "learning_rate is nan, expected a"),
        ("a.toml", "seed = 2020-01-01", "seed is datetime.date(2020, 1, 1), expected a whole number of at least 0"),
        ("a.toml", "[randomization]\nlabels = 1", "unknown field of a sweep: 'randomization'"),
    ],
)
def test_bad_files(tmp_path, name, text, message):
    with pytest.raises(InputError) as caught:
        read_grid(write(tmp_path / name, text))
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_no_files(tmp_path):
    with pytest.raises(InputError, match="is a folder, expected a TOML or JSON file"):
        read_grid(tmp_path)
    with pytest.raises(InputError, match="is no file, expected a TOML or JSON file"):
        read_grid(type(tmp_path)("/dev/null"))


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"label_mode": ["redraw", "flip"]}, "label_mode is 'flip' without labels, expected labels beside it: alone it changes nothing"),
        ({"permute_channels": True}, "permute_channels is True without pixels, expected pixels beside it"),
        ({"noise_seed": 3}, "noise_seed is 3 without labels or pixels, expected labels or pixels beside it"),
    ],
)
def test_how_to_randomize_needs_what_to_randomize(axes, message):
    with pytest.raises(InputError) as caught:
        grid(axes)
    assert message in str(caught.value)
    (name,) = axes
    assert grid({**axes, "pixels" if name == "permute_channels" else "labels": 0 if name != "permute_channels" else "shuffled"})
    assert len(grid({"label_mode": "redraw", "permute_channels": False, "noise_seed": None})) == 1, "defaults that are written out"
