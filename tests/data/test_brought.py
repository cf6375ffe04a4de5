"""What users bring that must be read as it is, or refused in a sentence: columns, groups, files of other programs, several splits."""

import warnings

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.tree import DecisionTreeClassifier

from shattering import Randomization, load_dataset, randomization_test, randomize
from shattering.data import tables
from shattering.data.groups import group_codes
from shattering.data.rows import Rows
from shattering.errors import InputError

N = 40
X = np.random.default_rng(0).random((N, 3))
Y = np.arange(N) // 2 % 2
QUICK = {"n_permutations": 1, "randomizations": ["permuted-labels"]}


def frame():
    return pd.DataFrame(X, columns=list("abc"))


def csv(tmp_path, text, **said):
    (tmp_path / "t.csv").write_text(text)
    return load_dataset(tmp_path / "t.csv", target="y", hold_out=False, **said).train


def column(values, name="y"):
    return f"a,{name}\n" + "".join(f"{i},{values[i % len(values)]}\n" for i in range(N))


@pytest.mark.parametrize("data", [(frame(), Y), (frame(), Y, frame(), Y)])
def test_a_target_beside_arrays_is_refused(data):
    with pytest.raises(InputError, match=r"target is 'a', expected none beside \(X, y\): y has the labels"):
        load_dataset(data, target="a")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("age,bp,y\n" + "20,0.1,1,0\n" * 5, "rows with more cells than the first line has names"),
        ("a,y,y\n" + "1,0,0\n2,1,1\n" * 5, "has the column 'y' 2 times, expected every name once"),
        (",a,y\n" + "0,1,0\n1,2,1\n" * 5, r"has no name for column 1, .*left out by to_csv\(index=False\)"),
        ("a;y\n" + "1;0\n2;1\n" * 5, "has one column, 'a;y', expected columns between commas, not semicolons"),
        (column(["1", "01", "2"]), "column 'y' .* has '1' and '01', one number, expected one way to write it, or targets='numbers'"),
        (column(["1.10", "1.1", "1.2"]), "has '1.10' and '1.1', one number"),
        (column(["9007199254740993", "", "3"], "b").replace("a,b", "y,b"), "has 9007199254740993, which would become 9007199254740992"),
    ],
    ids=["longer rows", "one name twice", "row numbers", "semicolons", "zeros", "versions", "rounded"],
)
def test_a_csv_file_that_would_change_is_refused(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        csv(tmp_path, text)


def test_groups_and_numbers_of_a_csv_file(tmp_path):
    written = "a,g,y\n" + "".join(f"{i},{['1', '01', '2'][i % 3]},{i % 2}\n" for i in range(N))
    with pytest.raises(InputError, match=r"column 'g' .* has '1' and '01', one number, expected one way to write it$"):
        csv(tmp_path, written, groups="g")
    assert csv(tmp_path, column(["1.10", "1.1", "1.2"]), targets="numbers").is_regression
    assert csv(tmp_path, column(["9007199254740992", "", "3"], "b").replace("a,b", "y,b"), targets="numbers").X["b"].max() == 2.0**53


def test_words_that_count_as_missing_are_reported(tmp_path):
    with pytest.warns(UserWarning, match="column 'b' has 'None' in 20 rows, which counts as missing"):
        split = csv(tmp_path, column(["None", "some"], "b").replace("a,b", "y,b"), targets="numbers")
    assert split.X["b"].isna().sum() == 20
    with pytest.warns(UserWarning, match="has the column 'Unnamed: 0', as pandas calls one without a name"):
        load_dataset(frame().assign(**{"Unnamed: 0": range(N), "y": Y}), target="y")


def test_whole_numbers_beside_empty_cells_of_a_parquet_file(tmp_path):
    pd.DataFrame({"b": pd.array([2**53 + 1, None] * 20, dtype="Int64"), "y": Y}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"column 'b' .* has 9007199254740993, which would become 9007199254740992"):
        load_dataset(tmp_path / "t.parquet", target="y")


def test_whole_numbers_beside_missing_ones_of_a_hugging_face_dataset():
    source = datasets.Dataset.from_dict({"b": [2**53 + 1, None] * 20, "label": Y.tolist()})
    with pytest.raises(
        InputError, match="column 'b' of the Hugging Face dataset has 9007199254740993, which would become 9007199254740992"
    ):
        load_dataset(source)


def test_a_csv_file_in_another_encoding_names_the_remedy(tmp_path):
    (tmp_path / "t.csv").write_bytes("größe,y\n1,0\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"t\.csv is not a readable CSV file: .*; expected text in UTF-8: save it so$"):
        load_dataset(tmp_path / "t.csv", target="y")


def test_booleans_that_are_written_in_two_ways_are_not_called_numbers(tmp_path):
    with pytest.raises(InputError, match=r"has 'TRUE' and 'true', one boolean, expected one way to write it$"):
        csv(tmp_path, column(["TRUE", "true", "False"]))


def test_labels_and_groups_that_differ_in_spaces_alone_are_refused(tmp_path):
    said = r"has 'no' and 'no ', which differ in spaces alone, expected one way to write it: take the spaces away$"
    with pytest.raises(InputError, match=f"column 'y' .*{said}"):
        csv(tmp_path, column(["yes", "no", "no "]))
    with pytest.raises(InputError, match=f"column 'g' .*{said}"):
        csv(tmp_path, "a,g,y\n" + "".join(f"{i},{['yes', 'no', 'no '][i % 3]},{i % 2}\n" for i in range(N)), groups="g")
    assert csv(tmp_path, column([" yes", " no"])).classes == (" no", " yes")


def test_a_large_csv_file_is_read_as_a_small_one(tmp_path):
    """In parts, as pandas reads large files by default, 1 would be a number in one part and a text in the next."""
    values = [str(i % 5) for i in range(300_000)]
    written = "y,b\n" + "".join(f"{value},{value}\n" for value in [*values, "x"])
    (tmp_path / "t.csv").write_text(written)
    assert tables.read_table(tmp_path / "t.csv")["b"].nunique() == 6


@pytest.mark.parametrize("inputs", [pd.DataFrame(index=range(N)), csr_matrix((N, 0))])
def test_tables_without_columns_are_refused(inputs):
    with pytest.raises(InputError, match="without columns, expected at least one feature"):
        load_dataset((inputs, Y))


@pytest.mark.parametrize(
    "values",
    [pd.to_timedelta(np.arange(N), unit="s"), np.arange(N) * 1j, pd.Series([[1, 2]] * N, dtype=pd.ArrowDtype(pa.list_(pa.int64())))],
    ids=["durations", "complex", "lists"],
)
def test_columns_that_a_model_does_not_take_are_named(values):
    X = pd.DataFrame({"a": np.arange(N) / 7, "b": values})
    with pytest.raises(InputError, match="columns that are no numbers: 'b'; expected numbers"):
        randomization_test("nearest-neighbors", X, Y, n_permutations=1)


def test_columns_of_the_splits_have_one_order():
    with pytest.raises(InputError, match=r"test inputs have the columns c, b, a, expected the order of the train inputs, a, b, c"):
        load_dataset((frame(), Y, frame()[["c", "b", "a"]], Y))
    with pytest.raises(InputError, match="columns of the test inputs lack 'a' of those of the train inputs"):
        load_dataset((frame(), Y, frame().rename(columns={"a": "d"}), Y))
    with pytest.raises(InputError, match="columns of the test inputs have 'd' beside those of the train inputs"):
        load_dataset((frame(), Y, frame().assign(d=1), Y))


def test_images_of_the_splits_have_one_scale():
    images = np.full((N, 5, 5), 200, dtype=np.uint8)
    with pytest.raises(InputError, match="test images are floats of up to 200 where those of the other split are uint8"):
        load_dataset((images, Y, images.astype(np.float32), Y))
    with pytest.raises(InputError, match="train images are floats of up to 200"):
        load_dataset((images.astype(np.float32), Y, images, Y))
    assert len(load_dataset((images, Y, images.astype(np.float32) / 255, Y)).test) == N


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (["a", "b", "c", float("nan")] * 10, "10 missing values"),
        (np.ma.array(np.arange(N), mask=np.arange(N) > 30), "9 missing values"),
        ([1, "1"] * 20, r"mixes numbers \(row 0: 1\) and text \(row 1: '1'\)"),
        ([(1, 2), (3, 4)] * 20, r"groups has shape \(40, 2\), expected one value"),
        ([{1}, {2}] * 20, "groups has values of type set, expected numbers, text, booleans or dates"),
        ("g", "groups is 'g', expected .n,. values: a column is named of a DataFrame or a file"),
        ((i for i in range(N)), "groups is a generator, expected an array or a list"),
        ([1, 2], "groups has 2 values for 40 examples of the train split"),
    ],
    ids=["nan", "masked", "kinds", "tuples", "sets", "name", "generator", "few"],
)
def test_groups_that_would_change_are_refused(groups, said):
    with pytest.raises(InputError, match=said):
        load_dataset((X, Y), groups=groups)


@pytest.mark.parametrize(
    "groups",
    [
        (np.arange(N) // 20)[:, None],
        pd.DataFrame({"g": np.arange(N) // 20}),
        pd.Categorical(["p"] * 20 + ["q"] * 20),
        pd.to_datetime(["2020-01-01"] * 20 + ["2021-01-01"] * 20),
        [pd.Timestamp("2020-01-01")] * 20 + [pd.Timestamp("2021-01-01")] * 20,
        [False] * 20 + [True] * 20,
    ],
    ids=["column", "frame", "categories", "dates", "stamps", "booleans"],
)
def test_groups_of_any_kind(groups):
    assert load_dataset((X, Y), groups=groups, hold_out=False).train.groups.tolist() == [0] * 20 + [1] * 20


def test_groups_of_two_splits():
    train, test = group_codes([["x", "y"], ["y", "z"]], [2, 2], ["train", "test"])
    assert (train.tolist(), test.tolist()) == ([0, 1], [1, 2])
    with pytest.raises(InputError, match="groups has numbers in the train split and text in the test split, expected values of one kind"):
        load_dataset((X, Y, X, Y), groups=([8] * N, ["8"] * N))
    with pytest.raises(InputError, match="groups is a ndarray, expected a pair beside four arrays"):
        load_dataset((X, Y, X, Y), groups=np.arange(2 * N))


def hub(prefix, n=N, **columns):
    return datasets.Dataset.from_dict({"a": X[:n, 0], "g": [f"{prefix}{i // 4}" for i in range(n)], "label": Y[:n]} | columns)


def test_groups_of_a_hugging_face_dataset_are_those_of_both_splits():
    apart = load_dataset(datasets.DatasetDict(train=hub("p"), test=hub("q", 12)), groups="g")
    assert not set(apart.train.groups.tolist()) & set(apart.test.groups.tolist())
    shared = load_dataset(datasets.DatasetDict(train=hub("p"), test=hub("p", 12)), groups="g")
    assert set(shared.test.groups.tolist()) == {0, 1, 2}
    with pytest.raises(InputError, match="groups has 40 missing values"):
        load_dataset(hub("p", g=[None] * N), groups="g")


def test_padding_of_a_hugging_face_dataset_is_left_out_and_reported():
    masks = [[1, 1, 1, 0], [0, 1, 1, 1]] * 20
    padded = datasets.Dataset.from_dict({"input_ids": [[1, 2, 3, 0], [0, 4, 5, 6]] * 20, "attention_mask": masks, "label": Y})
    with pytest.warns(UserWarning, match="40 tokens that attention_mask marks as padding are left out"):
        split = load_dataset(padded, hold_out=False).train
    assert np.asarray(split.inputs)[:2].tolist() == [[1, 2, 3], [4, 5, 6]]
    holes = datasets.Dataset.from_dict({"input_ids": [[1, 2, 3]] * N, "attention_mask": [[1, 0, 1]] * N, "label": Y})
    with pytest.raises(InputError, match="attention_mask of row 0 leaves out tokens between others"):
        load_dataset(holes)


def test_what_a_hugging_face_dataset_cannot_say():
    with pytest.raises(InputError, match=r"has a transform \(set_transform\)"):
        load_dataset(hub("p").with_transform(lambda batch: batch))
    features = datasets.Features({"a": datasets.Array2D((2, 2), "float32"), "label": datasets.Value("int64")})
    nested = datasets.Dataset.from_dict({"a": [[[1.0, 2.0], [3.0, 4.0]]] * N, "label": Y}, features=features)
    with pytest.raises(InputError, match="column 'a' of the Hugging Face dataset has Array2D values"):
        load_dataset(nested)
    with pytest.raises(InputError, match="kind is 'opaque', expected none beside a Hugging Face dataset"):
        load_dataset(hub("p"), kind="opaque")


def test_an_npz_keeps_groups_kind_and_targets(tmp_path):
    grouped = load_dataset((X, Y), groups=np.arange(N) // 4)
    again = load_dataset(grouped.to_npz(tmp_path / "groups"))
    assert again.train.groups.tolist() == grouped.train.groups.tolist()
    assert again.test.groups.tolist() == grouped.test.groups.tolist()
    for kind, inputs in (("sequence", X.reshape(20, 2, 3)), ("tokens", np.arange(60).reshape(20, 3))):
        again = load_dataset(load_dataset((inputs, Y[:20]), kind=kind).to_npz(tmp_path / kind))
        assert again.train.kind == kind
    numbers = load_dataset((X, X[:, 0]))
    again = load_dataset(numbers.to_npz(tmp_path / "numbers"))
    assert again.train.y.tolist() == numbers.train.y.tolist()
    assert [numbers.to_npz(tmp_path / name).name for name in ("exp.v1", "exp.v2", "a.npz")] == ["exp.v1.npz", "exp.v2.npz", "a.npz"]


def test_an_npz_is_not_written_of_what_it_does_not_hold(tmp_path):
    data = load_dataset((X, Y))
    with pytest.raises(InputError, match="labels differ from true_labels"):
        randomize(data, Randomization(labels=1.0, label_mode="flip")).to_npz(tmp_path / "noisy")
    with pytest.raises(InputError, match="has a validation split"):
        load_dataset((X, Y), n_validation=5).to_npz(tmp_path / "held")


def test_indices_that_overlap_and_differ_are_refused():
    x, y = frame().set_index(np.arange(5, 5 + N)), pd.Series(Y)
    with pytest.raises(InputError, match="y_train and x_train share 38 of 39 names in their index, and differ"):
        load_dataset((x.drop(index=8), y.set_axis(np.arange(5, 5 + N)).drop(index=20)))
    kept = load_dataset((x.drop(index=8).reset_index(drop=True), y.drop(index=20)), hold_out=False).train  # a counter names no rows
    assert kept.y.tolist() == y.drop(index=20).tolist()


def test_targets_that_are_no_numbers_or_all_the_same():
    times = pd.date_range("2020", periods=N).to_numpy().astype("datetime64[ns]")
    with pytest.raises(InputError, match=r"targets of type datetime64\[ns\], expected numbers for a regression"):
        load_dataset((X, times), targets="numbers")
    with pytest.raises(InputError, match="has the target 1 in all 32 examples, expected some that differ"):
        load_dataset((X, np.ones(N)), targets="numbers")
    with pytest.raises(InputError, match=r"the test split of arrays has the target 0\.5 in all 40 examples"):
        randomization_test(Ridge(), (X, X[:, 0], X, np.full(N, 0.5)), **QUICK)


def test_masked_tokens_and_sparse_rows_in_any_order():
    masked = np.ma.array(np.ones((N, 3), int), mask=np.eye(N, 3))
    with pytest.raises(InputError, match="x_train has 3 masked tokens"):
        load_dataset((masked, Y), kind="tokens")
    from scipy.sparse import csr_matrix

    rows = csr_matrix((np.array([1.0, 2.0, 2.0, 1.0]), np.array([0, 2, 2, 0]), np.array([0, 2, 4])), shape=(2, 3))
    one, two = Rows(rows).keys()
    assert one == two


def test_a_regressor_takes_data_that_say_what_their_labels_are(tmp_path):
    data = load_dataset((X, X[:, 0]))
    expected = randomization_test(Ridge(), data, **QUICK).original.test_score
    assert randomization_test(Ridge(), data.to_npz(tmp_path / "numbers"), **QUICK).original.test_score == expected
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(X[:, 0]))
    assert randomization_test(Ridge(), pairs, **QUICK).original.test_score == expected


def test_a_table_of_objects_takes_the_default_randomizations():
    mixed = X.astype(object)
    mixed[3, 1] = None
    test = randomization_test(DecisionTreeClassifier(), (mixed, Y), n_permutations=1)
    assert not any("FAILED" in sentence for sentence in test.summary)
    assert [str(r.pixels) for r in test.randomizations] == ["true", "true", "within-class"]


@pytest.mark.parametrize(
    "values",
    [pd.date_range("2020", periods=N, tz="UTC"), pd.period_range("2020", periods=N), [[1, 2]] * N, [{"a": 1}] * N],
    ids=["zone", "period", "list", "dict"],
)
def test_a_column_that_a_model_cannot_take_is_named(values):
    with pytest.raises(InputError, match="columns that are no numbers: 'z'; expected numbers: encode them first"):
        randomization_test(DecisionTreeClassifier(), frame().assign(z=values), Y, **QUICK)


class Listed(torch.utils.data.Dataset):
    def __init__(self, items, length=None):
        self.items, self.length = items, length or len(items)

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        return self.items[i]


class Streamed(torch.utils.data.IterableDataset):
    def __len__(self):
        return 2

    def __iter__(self):
        return iter([(torch.ones(2), 0), (torch.ones(2), 1)])


def test_torch_datasets_that_cannot_be_read():
    items = [(torch.ones(2), i % 2) for i in range(10)]
    with pytest.raises(InputError, match="the torch dataset has a length of 30, and no item 10"):
        load_dataset(Listed(items, 30))
    with pytest.raises(InputError, match="input of item 0 of the torch dataset is a tuple, expected a picture, an array or a tensor"):
        load_dataset(Listed([((torch.ones(2), torch.ones(3)), 0)] * 4))
    with pytest.raises(InputError, match="dataset is a Streamed, expected a name"):
        load_dataset(Streamed())


def test_arguments_that_are_no_dataset_and_no_column():
    with pytest.raises(InputError, match="dataset is a tuple, expected a Dataset: load_dataset of it"):
        randomize((X, Y), Randomization())
    with pytest.raises(InputError, match=r"target is \['y'\], expected the name of one column"):
        load_dataset(frame().assign(y=Y), target=["y"])
    with pytest.raises(InputError, match="n_validation is 10, expected none for examples in groups"):
        load_dataset((X, Y), groups=np.arange(N) // 4, n_validation=10)


def test_moments_of_sequences_far_from_zero():
    from shattering.data.moments import channel_moments

    values = 1e9 + torch.randn((50, 2, 30), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, std = channel_moments(values.split(8))
    torch.testing.assert_close(mean, values.mean((0, 2)))
    torch.testing.assert_close(std, values.std((0, 2), correction=0), rtol=1e-6, atol=0)


def test_images_whose_table_names_them_by_digits(tmp_path):
    from tests.data.test_kinds import encode

    pictures = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    for name, picture in zip(("0", "1", "2", "00", "01", "02"), pictures, strict=True):
        (tmp_path / f"{name}.png").write_bytes(encode(picture))
    (tmp_path / "labels.csv").write_text(
        "id,label\n" + "".join(f"{name},{i % 2}\n" for i, name in enumerate(("00", "01", "02", "0", "1", "2")))
    )
    (tmp_path / "boxes.json").write_text("{}")
    with pytest.warns(UserWarning, match="boxes.json"):
        split = load_dataset(tmp_path, hold_out=False).train
    assert (split.inputs.permute(0, 2, 3, 1).numpy() == pictures[[3, 4, 5, 0, 1, 2]]).all()


def test_a_table_beside_images_is_read_once_and_its_labels_as_they_are_written(tmp_path, monkeypatch):
    from tests.data.test_kinds import encode

    for name in "abcd":
        (tmp_path / f"{name}.png").write_bytes(encode(np.full((4, 4, 3), ord(name), np.uint8)))
    read, reads = tables._parsed, []
    monkeypatch.setattr(tables, "_parsed", lambda path, **how: reads.append(how.get("nrows")) or read(path, **how))
    for labels in ([1, 2, 1, 2], [True, False, True, True], ["x", "y, z", 'the "x"', "x"]):
        pd.DataFrame({"id": list("abcd"), "label": labels}).to_csv(tmp_path / "labels.csv", index=False)
        reads.clear()
        assert load_dataset(tmp_path, hold_out=False).train.y.tolist() == labels
        assert reads == [1, None], "the first line, and all"
    for column, message in (("1,01,2,2", "has '1' and '01', one number"), ("1,,2,2", "1 rows without a label")):
        (tmp_path / "labels.csv").write_text("id,label\n" + "\n".join(f"{n},{v}" for n, v in zip("abcd", column.split(","), strict=True)))
        with pytest.raises(InputError, match=message):
            load_dataset(tmp_path)
    (tmp_path / "labels.csv").write_text("id,label\na,None\nb,x\nc,x\nd,y\n")
    with pytest.warns(UserWarning, match="'None' in 1 rows, which counts as missing"), pytest.raises(InputError, match="without a label"):
        load_dataset(tmp_path)


def test_a_regression_refuses_what_only_networks_of_classes_have():
    with pytest.raises(InputError, match="track_examples is True where the labels are numbers, expected it for classes alone"):
        randomization_test("mlp-1x4", (X, X[:, 0]), hyperparameters={"track_examples": True, "epochs": 1}, **QUICK)
    randomization_test("mlp-1x4", (X, X[:, 0]), hyperparameters={"epochs": 1, "batch_size": 8}, **QUICK)


def test_texts_of_hugging_face_columns_and_other_sequences_are_texts():
    texts = ["a good film", "a bad one", "fine", "not so fine"]
    whole = datasets.Dataset.from_dict({"text": texts, "label": [1, 0, 1, 0]})
    for column in (whole["text"], pd.Index(texts), tuple(texts)):
        split = load_dataset((column, whole["label"]), hold_out=False).train
        assert (split.X, split.y.tolist()) == (texts, [1, 0, 1, 0])


def test_missing_texts_are_told():
    texts = ["a good film", "a bad one", "fine", "not so fine"]
    for missing in (None, float("nan"), pd.NA):
        for values in ([*texts, missing], pd.Series([*texts, missing])):
            with pytest.raises(InputError, match=r"x_train has 1 missing texts \(first: row 4\), expected none: fill them in first"):
                load_dataset((values, [0, 1, 0, 1, 0]))
    with pytest.raises(InputError, match="column 'text' has 1 missing texts"):
        load_dataset(datasets.Dataset.from_dict({"text": [None, *texts], "label": [0, 1, 0, 1, 0]}))
    with pytest.raises(InputError, match='kind="opaque" hands lists of texts on as they are'):
        load_dataset(([["a", "b"], ["c", "d"]], [0, 1]))
    with pytest.raises(InputError, match='parts of several lengths, expected an array; kind="opaque" hands a list'):
        load_dataset(([[1, 2], [3]], [0, 1]))


def test_several_labels_an_example_say_what_to_do():
    several = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]])
    for y in (several, csr_matrix(several), pd.DataFrame(several), [["a", "b"]] * 4):
        with pytest.raises(InputError, match=r"y_train has shape \(4, .\), .*; of several labels an example, test one column"):
            load_dataset((X[:4], y))
    with pytest.raises(InputError, match="of columns that mark one class each, give the number of the column"):
        load_dataset((X[:4], np.eye(4)))
    with pytest.raises(InputError, match="expected one target an example, and at least one; test several columns one after the other"):
        load_dataset((X[:4], several + 0.5), targets="numbers")


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([(torch.zeros(2), 0)])


def test_loaders_and_streams_of_torch_name_what_to_give():
    pairs = torch.utils.data.TensorDataset(torch.zeros(4, 2), torch.arange(4))
    with pytest.raises(InputError, match="or a torch or Hugging Face dataset: the dataset of the DataLoader"):
        load_dataset(torch.utils.data.DataLoader(pairs))
    with pytest.raises(InputError, match="lists of the inputs and labels of the IterableDataset"):
        load_dataset(Stream())
    with pytest.raises(InputError, match="has a DataLoader in it, expected arrays or torch datasets: the dataset of the DataLoader"):
        load_dataset((torch.utils.data.DataLoader(pairs), torch.utils.data.DataLoader(pairs)))


def test_a_regressor_on_named_data_names_a_remedy_that_works():
    digits = load_dataset("digits", n_train=40, n_test=20)
    for data in ("digits", digits):
        with pytest.raises(InputError, match=r"expected a classifier; or, to predict labels as numbers, \(X, y\), a DataFrame or"):
            randomization_test(Ridge(), data, n_train=40, **QUICK)
    test = randomization_test(Ridge(), digits.train.X, digits.train.y, targets="numbers", **QUICK)
    assert test.is_regression


def test_a_metric_is_no_scorer():
    with pytest.raises(InputError, match=r"scoring is the metric accuracy_score, expected a scorer: .* make_scorer\(accuracy_score\)"):
        randomization_test(DecisionTreeClassifier(), (X, Y), scoring=accuracy_score, **QUICK)
    randomization_test(DecisionTreeClassifier(), (X, Y), scoring=make_scorer(accuracy_score), **QUICK)


ODD = [((i % 2 for i in range(30)), "a generator"), (dict.fromkeys(range(30), 1), "a dict"), ({1, 2}, "a set")]


@pytest.mark.parametrize(("y", "what"), ODD)
def test_labels_without_an_order_or_that_can_be_read_only_once(y, what):
    with pytest.raises(InputError, match=f"is {what}, expected a list or an array of one value for each example"):
        load_dataset((np.zeros((30, 3)), y), hold_out=True)


def test_a_target_beside_a_named_dataset():
    with pytest.raises(InputError, match="target is 'g', expected none beside the dataset 'digits', which has its labels"):
        load_dataset("digits", target="g")


def test_a_short_row_is_refused_and_empty_cells_are_not(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("y,a,b\n" + "0,1,2\n1,3,\n\n" * 5 + "1,5\n")
    with pytest.raises(InputError, match=r"line 17 of .*t.csv has 2 cells, and the first line 3 names, expected as many"):
        load_dataset(path, target="y")
    path.write_text("y,a,b\n" + "0,1,2\n1,3,\n\n" * 5)
    assert load_dataset(path, target="y", hold_out=False).train.X["b"].isna().sum() == 5


def test_numbers_with_zeros_in_front_are_told(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("y,zip,x\n" + "".join(f"{i % 2},{i:05d},0.{i}\n" for i in range(10)))
    with pytest.warns(UserWarning, match=r"column 'zip' has '00000', which is read as the number 0; codes are kept in a DataFrame"):
        load_dataset(path, target="y")


def test_a_comment_in_the_place_of_the_names_is_told(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("# made today\ny,x\n" + "0,1\n1,2\n" * 5)
    with pytest.raises(InputError, match=r"expected as many; its first line begins with #, and the names have to stand there"):
        load_dataset(path, target="y")


def test_decimal_commas_are_told(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("y,x\n" + '0,"1,5"\n1,"2.000,25"\n' * 10)
    with pytest.raises(InputError, match=r"column 'x' has numbers with commas, such as '[^']*'; expected decimal points, and no commas"):
        randomization_test(LogisticRegression(), path, target="y")


def test_the_index_of_a_parquet_file_may_be_groups_or_target_and_is_no_feature(tmp_path):
    path, frame = tmp_path / "t.parquet", pd.DataFrame({"a": np.arange(40.0), "b": 1.0, "y": np.arange(40) % 2})
    frame["patient"] = [f"p{i // 4}" for i in range(40)]
    frame.set_index(["patient", "a"]).to_parquet(path)
    with pytest.warns(UserWarning, match=r"has 'patient', 'a' as its index, which is no feature here; as a column it is one"):
        assert list(load_dataset(path, target="y").train.X.columns) == ["b"]
    with pytest.warns(UserWarning, match=r"has 'a' as its index"):
        assert load_dataset(path, target="y", groups="patient").train.groups is not None
    with pytest.raises(
        InputError, match=r"groups is 'patient', the index of the DataFrame, expected a column: reset_index\(\) makes it one"
    ):
        load_dataset(frame.set_index("patient"), target="y", groups="patient")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame[frame["a"] > 3].drop(columns="patient").to_parquet(path)  # an index without a name: row numbers
        assert list(load_dataset(path, target="y").train.X.columns) == ["a", "b"]
