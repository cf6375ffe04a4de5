"""Inputs of every kind reach models as the user has them: tables with columns, sparse matrices, texts, tokens, sequences, objects."""

import datasets
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin

from shattering.data.arrays import dataset_from_arrays
from shattering.data.load import load_dataset
from shattering.data.split import Split
from shattering.errors import InputError
from shattering.learners.on_splits import fit_split, predict_split
from shattering.randomization import Randomization, randomize
from tests.data.test_reading import encode

N = 12
Y = ["a", "b"] * (N // 2)


def frame(n=N):
    rows = range(n)
    return pd.DataFrame(
        {
            "size": np.array(rows, dtype=np.int16),
            "weight": [np.nan if i % 5 == 0 else i / 3 for i in rows],
            "colour": pd.Categorical(["red", "green", "blue"][i % 3] for i in rows),
            "when": pd.date_range("2024-01-01", periods=n, tz="Europe/Berlin"),
            "maybe": pd.array([None if i == 3 else i for i in rows], dtype="Int64"),
        },
        index=[f"row{i}" for i in rows],
    )


def sparse(n=N):
    return scipy.sparse.random(n, 7, density=0.4, format="coo", random_state=0)


class Seen(ClassifierMixin, BaseEstimator):
    """Keeps what it is given, and changes it."""

    def fit(self, X, y):
        self.X_, self.classes_ = X, np.unique(y)
        if isinstance(X, list):
            X.append("more")
        return self

    def predict(self, X):
        return np.repeat(self.classes_[0], X.shape[0] if hasattr(X, "shape") else len(X))


KINDS = {
    "frame": (frame(), None, "table"),
    "sparse": (sparse(), None, "table"),
    "texts": ([f"text {i}" for i in range(N)], None, "opaque"),
    "an array of texts": (np.array([f"text {i}" for i in range(N)]), None, "opaque"),
    "a Series of texts": (pd.Series([f"text {i}" for i in range(N)]), None, "opaque"),
    "a mixed array": (np.array([[i, "x" if i % 2 else None] for i in range(N)], dtype=object), None, "table"),
    "objects": ([{"nodes": i} for i in range(N)], "opaque", "opaque"),
    "tokens": (np.arange(N * 5).reshape(N, 5) % 7, "tokens", "tokens"),
    "ragged tokens": ([list(range(1 + i % 4)) for i in range(N)], "tokens", "tokens"),
    "sequences": (np.random.default_rng(0).normal(size=(N, 2, 9)), "sequence", "sequence"),
    "bytes in time": (np.arange(N * 9, dtype=np.uint8).reshape(N, 1, 9), "sequence", "sequence"),
    "a table with gaps": (np.where(np.eye(N, 4) > 0, np.nan, 1.5), None, "table"),
}


def same(a, b) -> bool:
    if isinstance(a, pd.DataFrame):
        return a.equals(b) and a.dtypes.equals(b.dtypes) and a.index.equals(b.index)
    if isinstance(a, pd.Series):
        return a.equals(b)
    if scipy.sparse.issparse(a):
        return (abs(a.tocsr() - b) > 0).nnz == 0
    if isinstance(a, np.ndarray) and a.dtype.kind == "O":
        return a.tolist() == b.tolist()
    return np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else bool(np.all(a == b))


@pytest.mark.parametrize("name", KINDS)
def test_models_are_given_the_rows_unchanged(name):
    X, said, kind = KINDS[name]
    data = load_dataset((X, Y), hold_out=False, kind=said)
    assert data.train.kind == kind
    fingerprint = data.fingerprint()
    model = fit_split(Seen(), data.train)
    seen = model.X_[:-1] if name in ("texts", "objects", "ragged tokens") else model.X_
    assert type(seen) is type(X) or scipy.sparse.issparse(seen)
    assert same(X, seen)
    assert predict_split(model, data.test).tolist() == [0] * N
    assert data.fingerprint() == fingerprint, "what a model does to its inputs changes nothing"
    some = data.train.subset(torch.tensor([5, 1]))
    assert len(some) == 2
    assert some.y.tolist() == ["b", "b"]
    assert load_dataset((X, Y), hold_out=False, kind=said).fingerprint() == fingerprint
    assert load_dataset((X, Y[::-1]), hold_out=False, kind=said).fingerprint() != fingerprint


def test_a_changed_cell_changes_the_fingerprint():
    other = frame()
    other.loc["row3", "colour"] = "green"
    prints = {load_dataset((X, Y), hold_out=False).fingerprint() for X in (frame(), other, frame().rename(columns={"size": "length"}))}
    assert len(prints) == 3


@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_table_of_numbers_is_refused_by_a_network_in_one_sentence(name):
    from shattering.learners.network import NetworkClassifier

    X, said, _ = KINDS[name]
    if said in ("tokens", "sequence"):
        return
    data = load_dataset((X, Y), hold_out=False, kind=said)
    with pytest.raises(InputError, match=r"expected"):
        NetworkClassifier("mlp-1x4", epochs=1).fit(data.train)


def column_values(X, column):
    return sorted(map(str, X.iloc[:, column])) if isinstance(X, pd.DataFrame) else sorted(X.tocsc()[:, column].toarray().ravel().tolist())


@pytest.mark.parametrize("name", ["frame", "sparse"])
@pytest.mark.parametrize("pixels", ["within-class", "columns"])
def test_columns_are_permuted_and_keep_their_values_and_types(name, pixels):
    data = load_dataset((KINDS[name][0], Y), hold_out=False)
    train = randomize(data, Randomization(pixels=pixels), seed=1).train
    X = train.X
    assert not same(KINDS[name][0], X)
    if name == "frame":
        assert X.dtypes.equals(frame().dtypes)
        assert X.index.equals(frame().index)
    for column in range(X.shape[1]):
        assert column_values(X, column) == column_values(data.train.X, column)
    if pixels == "within-class":
        for k in (0, 1):
            rows = torch.nonzero(train.labels == k).flatten()
            assert column_values(train.subset(rows).X, 0) == column_values(data.train.subset(rows).X, 0)
    again = randomize(data, Randomization(pixels=pixels), seed=1).train
    assert same(X, again.X)


def test_gaussian_features_of_a_frame_of_numbers():
    numbers = frame(200)[["size", "weight"]]
    train = randomize(load_dataset((numbers, [0, 1] * 100), hold_out=False), Randomization(pixels="gaussian")).train
    drawn = train.X
    assert list(drawn.columns) == ["size", "weight"]
    assert not drawn.isna().any().any()
    np.testing.assert_allclose(drawn.mean(), numbers.mean(), rtol=0.2)
    np.testing.assert_allclose(drawn.std(), numbers.std(), rtol=0.2)
    with pytest.raises(InputError, match="columns that are no numbers"):
        randomize(load_dataset((frame(), Y), hold_out=False), Randomization(pixels="gaussian"))


def test_randomizations_of_sequences_act_on_time():
    X = KINDS["sequences"][0]
    data = load_dataset((X, Y), hold_out=False, kind="sequence")
    shuffled, random, shifted = (randomize(data, Randomization(pixels=pixels)).train.X for pixels in ("shuffled", "random", "shifted"))
    order = [int(np.flatnonzero(X[0, 0] == value)[0]) for value in shuffled[0, 0]]
    np.testing.assert_array_equal(shuffled, X[:, :, order])  # one permutation for all, channels together
    assert not np.array_equal(random, X[:, :, order])
    for before, after in zip(X, shifted, strict=True):
        assert any(np.array_equal(np.roll(before, by, axis=1), after) for by in range(9))


@pytest.mark.parametrize("name", ["tokens", "ragged tokens"])
def test_randomizations_of_tokens(name):
    X = KINDS[name][0]
    data = load_dataset((X, Y), hold_out=False, kind="tokens")
    made = {pixels: randomize(data, Randomization(pixels=pixels)).train.X for pixels in ("shuffled", "random", "uniform", "unigram")}
    for pixels, documents in made.items():
        assert [len(row) for row in documents] == [len(row) for row in X]
        kept = [sorted(row) for row in documents] == [sorted(row) for row in X]
        assert kept == (pixels in ("shuffled", "random"))
        assert max(max(row) for row in documents) <= max(max(row) for row in X)
    with pytest.raises(InputError, match="pixels is 'gaussian', which is not for tokens inputs, expected 'shuffled', 'random'"):
        randomize(data, Randomization(pixels="gaussian"))


def test_what_cannot_be_randomized_is_said():
    texts = load_dataset((KINDS["texts"][0], Y), hold_out=False)
    with pytest.raises(InputError, match="which is not for opaque inputs, expected none: labels alone can be randomized"):
        randomize(texts, Randomization(pixels="shuffled"))
    numbers = load_dataset((np.zeros((6, 2)), np.linspace(0, 1, 6)), hold_out=False)
    with pytest.raises(InputError, match="label_mode is 'flip' and the labels are numbers"):
        randomize(numbers, Randomization(labels=0.5, label_mode="flip"))
    with pytest.raises(InputError, match="permutes within a class, expected labels that are classes"):
        randomize(numbers, Randomization(pixels="within-class"))


def test_gaussian_features_of_floats_are_of_the_type_that_they_replace():
    numbers = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 4)), columns=list("aabc")).astype({"b": "float32", "c": "Float64"})
    numbers["whole"] = range(20)
    train = randomize(load_dataset((numbers, [0, 1] * 10), hold_out=False), Randomization(pixels="gaussian")).train
    assert train.X.dtypes.tolist() == [np.float64, np.float64, np.float32, pd.Float64Dtype(), np.float64]
    with pytest.raises(InputError, match="inputs are a csr_matrix, expected an array or a DataFrame of numbers: its toarray"):
        randomize(load_dataset((scipy.sparse.csr_matrix(np.eye(6)), [0, 1] * 3), hold_out=False), Randomization(pixels="gaussian"))


def test_targets_of_a_regression_are_permuted_or_redrawn():
    y = np.linspace(0, 1, 40)
    data = load_dataset((np.zeros((40, 2)), y), hold_out=False)
    assert data.train.is_regression
    assert data.train.n_classes == 0
    permuted, redrawn = (randomize(data, Randomization(labels=1, label_mode=mode)).train.y for mode in ("permute", "redraw"))
    assert sorted(permuted) == sorted(y)
    assert not np.array_equal(permuted, y)
    assert set(redrawn) < set(y)


class Frame:
    """A table of another library, as polars and pyarrow have them."""

    def to_pandas(self):
        return frame()


class LazyFrame:
    """A table of polars that is still to be computed."""

    collect = collect_schema = None


SERIES = pd.Series([0, 1] * 3)
BAD = {
    "another library's frame": (lambda: load_dataset((Frame(), Y)), r"x_train is a \w+ Frame, expected one of pandas: its to_pandas\(\)"),
    "one with a target": (lambda: load_dataset(Frame(), target="y"), r"data is a \w+ Frame, expected one of pandas: its to_pandas\(\)"),
    "one that is still to be computed": (lambda: load_dataset(LazyFrame(), target="y"), r"expected .*: its collect\(\).to_pandas\(\)"),
    "labels in another order": (
        lambda: load_dataset((pd.DataFrame({"a": range(6)}), SERIES[::-1])),
        r"y_train has the index of x_train in another order, expected the same: y_train.loc\[x_train.index\]",
    ),
    "groups in another order": (
        lambda: load_dataset((pd.DataFrame({"a": range(6)}), SERIES), groups=SERIES[::-1]),
        "groups has the index of x_train in another order",
    ),
    "labels of names that stand twice, in another order": (
        lambda: load_dataset((pd.DataFrame({"a": range(6)}, index=[0, 1] * 3), SERIES.set_axis([0, 0, 0, 1, 1, 1]))),
        "y_train has the index of x_train, in which names stand twice, in another order: expected the same order",
    ),
    "groups in another order than the labels of an array": (
        lambda: load_dataset((np.arange(6.0)[:, None], SERIES), groups=SERIES[::-1]),
        r"groups has the index of y_train in another order, expected the same: groups.loc\[y_train.index\]",
    ),
    "columns by name": (lambda: load_dataset(({"a": [1, 2]}, [0, 1])), "x_train is a dict, expected rows: of columns by name, pandas.Data"),
    "dicts": (lambda: load_dataset(([{"a": 1}] * 6, [0, 1] * 3)), "has the dict .* expected numbers; kind=.opaque. hands a list"),
    "a generator": (lambda: load_dataset(((row for row in [[1]] * 6), [0, 1] * 3)), "x_train is a generator, which can be read once"),
    "named fields": (lambda: load_dataset((np.zeros(6, dtype=[("a", float)]), [0, 1] * 3)), "expected numbers; give a DataFrame"),
    "one feature": (lambda: load_dataset((np.zeros(6), [0, 1] * 3)), r"x_train has shape \(6,\), expected .*: reshape\(-1, 1\)"),
    "groups of another length": (lambda: load_dataset(([[1.0]] * 6, [0, 1] * 3), groups=[1, 2]), "groups has 2 values for 6 examples"),
    "missing groups": (lambda: load_dataset(([[1.0]] * 6, [0, 1] * 3), groups=[1, 2, None, 1, 2, 1]), "groups has 1 missing values"),
    "one group": (lambda: load_dataset(([[1.0]] * 6, [0, 1] * 3), groups=[1] * 6), "in 1 groups, expected at least two"),
    "an unknown kind": (lambda: load_dataset(([[1.0]] * 6, [0, 1] * 3), kind="graph"), "unknown kind 'graph'; known: images"),
    "an unknown column": (lambda: load_dataset(frame(), target="colours"), "unknown target of the DataFrame: 'colours'"),
    "a number as text": (lambda: load_dataset(pd.DataFrame(np.eye(9)), target="3"), "target is '3', and .* column 3: expected target=3"),
    "no target": (
        lambda: load_dataset(frame()),
        r"the DataFrame has the columns .*, expected target \(--target of shattering test\), the one with the labels, or \(X, y\)",
    ),
    "a target of a name": (lambda: load_dataset("digits", targets="classes"), "targets is 'classes', expected none beside the dataset"),
    "negative tokens": (lambda: load_dataset(([[1, -1]] * 6, [0, 1] * 3), kind="tokens"), "has the token -1, expected ids of at least 0"),
    "fractional tokens": (
        lambda: load_dataset(([[1.5]] * 6, [0, 1] * 3), kind="tokens"),
        "has type float64 and shape .*, expected whole numbers",
    ),
    "infinite targets": (lambda: load_dataset(([[1.0]] * 6, [0.5, np.inf] * 3)), "has infinite targets"),
    "texts as images": (lambda: Split(torch.zeros(2, 3), torch.tensor([0, 1]), ("a", "b"), kind="images"), "images have shape"),
    "unlike tables": (lambda: dataset_from_arrays(frame(), Y, frame().to_numpy()[:, :2], Y), "test inputs"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    make, message = BAD[name]
    with pytest.raises(InputError, match=message):
        make()


def test_whole_groups_are_held_out_and_in_folds():
    groups = np.repeat(np.arange(10), 4)
    X, y = np.arange(40.0)[:, None], groups % 2
    for data in (load_dataset((X, y), groups=groups), load_dataset((X, y), groups=groups, hold_out=False).fold(1, 3)):
        assert data.train.groups is not None
        assert data.test.groups is not None
        assert not set(data.train.groups.tolist()) & set(data.test.groups.tolist())
    named = pd.DataFrame({"x": X[:, 0], "y": y, "who": [f"p{g}" for g in groups]})
    by_name = load_dataset(named, target="y", groups="who")
    assert list(by_name.train.X.columns) == ["x"]
    assert len(by_name.test) == 8


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_files_of_columns(tmp_path, suffix):
    table = frame()[["size", "weight", "colour"]].assign(species=Y)
    path = tmp_path / f"plants.{suffix}"
    if suffix == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    data = load_dataset(path, target="species", hold_out=False)
    assert (data.name, data.classes) == ("plants", ("a", "b"))
    assert list(data.train.X.columns) == ["size", "weight", "colour"]
    assert data.train.X["weight"].isna().sum() == 3
    path.write_bytes(b"\x00\xff")
    with pytest.raises(InputError, match=r"plants.* is not a readable|unknown target"):
        load_dataset(path, target="species")


def test_images_whose_labels_are_in_a_table_beside_them(tmp_path):
    (tmp_path / "train").mkdir()
    pictures = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), dtype=np.uint8)
    for i, picture in enumerate(pictures):
        (tmp_path / "train" / f"im{i}.png").write_bytes(encode(picture))
    labels = pd.DataFrame({"id": [f"im{i}" for i in range(7)], "breed": ["cat", "dog"] * 3 + ["cat"], "age": range(7)})
    labels.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.warns(UserWarning, match=r"has no label for 1 image, not used \(first: train/im7.png\)"):
        data = load_dataset(tmp_path, target="breed", hold_out=False)
    assert data.train.y.tolist() == labels["breed"].tolist()
    assert (data.train.inputs.permute(0, 2, 3, 1).numpy() == pictures[:7]).all()
    with pytest.raises(InputError, match=r"has the columns 'id', 'breed', 'age', expected target \(--target of .*\), the one"):
        load_dataset(tmp_path)
    labels.assign(id=[*labels["id"][:6], "im9"]).to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(InputError, match=r"column 'id' of .*labels.csv names 'im9', which is no image beside it, expected names of images"):
        load_dataset(tmp_path, target="breed")


def test_image_folders_of_16_bits(tmp_path):
    deep = np.random.default_rng(0).integers(0, 2**16, (6, 5, 4), dtype=np.uint16)
    for i, image in enumerate(deep):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    data = load_dataset(tmp_path, hold_out=False)
    found = sorted(data.train.inputs.flatten(1).tolist())
    assert found == sorted((deep / 65535).astype(np.float32).reshape(6, -1).tolist())
    Image.fromarray(deep[0].astype(np.uint8)).save(tmp_path / "b" / "9.png")
    with pytest.raises(InputError, match="has 8 bits a channel and others 16 bits or floats, expected one kind"):
        load_dataset(tmp_path, hold_out=False)


class Pairs(torch.utils.data.Dataset):
    def __init__(self, inputs, targets):
        self.inputs, self.targets = inputs, targets

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, i):
        return self.inputs[i], self.targets[i]


def test_torch_datasets_of_texts_tokens_sequences_and_numbers():
    texts = load_dataset(Pairs([f"text {i}" for i in range(N)], [0, 1] * 6), hold_out=False).train
    assert (texts.kind, texts.X[3]) == ("opaque", "text 3")
    tokens = [torch.arange(1 + i % 3) for i in range(N)]
    ragged = load_dataset(Pairs(tokens, [0, 1] * 6), hold_out=False, kind="tokens").train
    assert [row.tolist() for row in tokens] == ragged.X
    series = load_dataset(Pairs(torch.randn(N, 2, 5), [0, 1] * 6), hold_out=False, kind="sequence").train
    assert series.input_shape == (2, 5)
    numbers = load_dataset(Pairs(torch.randn(N, 3), np.linspace(0, 1, N).tolist()), hold_out=False).train
    assert numbers.is_regression


def test_hugging_face_datasets_of_texts_tokens_and_tables():
    texts = datasets.Dataset.from_dict({"text": [f"t{i}" for i in range(N)], "label": [0, 1] * 6})
    split = load_dataset(texts, hold_out=False).train
    assert (split.kind, split.X[2]) == ("opaque", "t2")
    ids = datasets.Dataset.from_dict(
        {"input_ids": [[1] * (1 + i % 2) for i in range(N)], "attention_mask": [[1] * (1 + i % 2) for i in range(N)], "label": [0, 1] * 6}
    )
    assert load_dataset(ids, hold_out=False).train.kind == "tokens"
    table = datasets.Dataset.from_dict({"a": range(N), "b": ["x", None] * 6, "price": np.linspace(0, 1, N), "who": ["p", "q"] * 6})
    priced = load_dataset(table, target="price", groups="who", hold_out=False).train
    assert priced.is_regression
    assert list(priced.X.columns) == ["a", "b"]
    assert priced.groups.tolist() == [0, 1] * 6
    with pytest.raises(InputError, match="unknown target 'cost'"):
        load_dataset(table, target="cost")


def test_a_stream_is_read_as_far_as_it_is_asked_for():
    rows = datasets.Dataset.from_dict({"text": [f"t{i}" for i in range(1000)], "label": [0, 1] * 500})
    with pytest.warns(UserWarning, match="is a stream: its first 51 rows are used"):
        data = load_dataset(rows.to_iterable_dataset(), n_train=40)
    assert len(data.train) == 40
    with pytest.raises(InputError, match="is a stream, expected n_train"):
        load_dataset(rows.to_iterable_dataset())


def test_examples_have_the_names_that_the_user_gave_them(tmp_path):
    train = load_dataset((frame(), Y), hold_out=False).train
    assert train.subset(torch.tensor([3, 1])).names.tolist() == ["row3", "row1"]
    assert load_dataset((frame().reset_index(drop=True), Y), hold_out=False).train.names is None
    for i in range(4):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[i % 2] / f"{i}.png").write_bytes(encode(np.full((3, 3, 3), i, dtype=np.uint8)))
    assert load_dataset(tmp_path, hold_out=False).train.names.tolist() == ["a/0.png", "a/2.png", "b/1.png", "b/3.png"]


def test_series_with_another_index_are_taken_by_their_places():
    X = pd.DataFrame({"a": range(6)}, index=list("abcdef"))
    assert load_dataset((X, SERIES), hold_out=False).train.y.tolist() == SERIES.tolist()
    assert load_dataset((X, SERIES.set_axis(X.index)), hold_out=False).train.y.tolist() == SERIES.tolist()


def test_a_table_in_a_file_without_target_names_its_columns(tmp_path):
    pd.DataFrame({f"column {k}": [1, 2] for k in range(14)}).to_csv(tmp_path / "wide.csv", index=False)
    expected = r"wide.csv has the columns 'column 0', .*'column 11' and 2 more, expected target \(--target .*\), the one with the labels$"
    with pytest.raises(InputError, match=expected):
        load_dataset(tmp_path / "wide.csv")
