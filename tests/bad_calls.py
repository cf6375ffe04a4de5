"""Bad calls in Python, for tests/test_bad_inputs.py: (what is called, the call, what the sentence says)."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier

from shattering import (
    MEASURES,
    Dataset,
    KernelInterpolatorClassifier,
    NetworkClassifier,
    NetworkRegressor,
    RandomConvClassifier,
    Randomization,
    Ray,
    ReluInterpolatorClassifier,
    RunSpec,
    Split,
    Store,
    grid,
    load_dataset,
    randomization_test,
    randomize,
    run,
    sweep,
)
from shattering.experiments.shatter_point import shatter_point

Case = tuple[str, Callable[[], object], str]
X, y = np.random.default_rng(0).random((20, 4)), np.arange(20) % 2
NEIGHBORS = KNeighborsClassifier(1)
SPEC = RunSpec(n_train=50, model="nearest-neighbors")
NAN, INF = float("nan"), float("inf")
COUNT, WHOLE, NUMBER, SHARE = (
    "a whole number of at least 1",
    "a whole number of at least 0",
    "a number of at least 0",
    "a number in 0…1",
)
TRUTH, MAPPING, PROBABILITY = "true or false", "names with their values", "a probability of corruption in 0…1"


def wrong(name: str, call: Callable, values: dict[str, tuple[str, tuple]]) -> Iterator[Case]:
    """Cases of one argument each. values: argument → (what is expected, values that are not)."""
    for argument, (expected, bad) in values.items():
        for value in bad:
            yield f"{name}({argument}={value!r})", partial(call, **{argument: value}), f"{argument} is {value!r}, expected {expected}"


def unknown(name: str, call: Callable, values: dict[str, tuple[str, tuple]]) -> Iterator[Case]:
    """The same for names that are not known. values: argument → (what the sentence goes on with, values)."""
    for argument, (more, bad) in values.items():
        for value in bad:
            yield f"{name}({argument}={value!r})", partial(call, **{argument: value}), f"unknown {argument} {value!r}; {more}"


def noisy(randomization: object) -> object:
    return randomize(load_dataset("digits", 20, 20), randomization)


def checked(cls: type) -> Callable:
    return lambda **params: cls(**params).check_params()


def fitted(cls: type) -> Callable:
    return lambda **params: cls(**params).fit(X, y)


def small() -> NetworkClassifier:
    return NetworkClassifier("mlp-1x2", epochs=1)


def with_digits(method: str) -> object:
    model = small() if method == "fit" else small().fit(X, y)
    return getattr(model, method)(load_dataset("digits", 20, 20))


def tested(**options) -> object:
    return randomization_test(NEIGHBORS, (X, y), **options)


def searched(**options) -> object:
    return shatter_point(SPEC, Store("failing"), **options)


def swept(**options) -> object:
    return sweep([SPEC], Store("failing"), **options)


_SPECS: list[Case] = [
    *wrong(
        "RunSpec",
        RunSpec,
        {
            **dict.fromkeys(("n_train", "n_test", "n_validation", "image_size"), (COUNT + " or none", ("3", 1.5, True, 0))),
            **dict.fromkeys(("data_seed", "noise_seed"), (WHOLE + " or none", ("3", 1.5, True, -1))),
            "seed": (WHOLE, (None, "3", 1.5, True, -1, [0])),
            "dataset": ("a text", (5, None, ["digits"])),
            "model": ("a text", (5, None, NEIGHBORS)),
            "params": (MAPPING, (5, None, ["a"], {5: 3})),
            "randomization": ("a Randomization", (0.5, None)),
            "scoring": ("a text or none", (5, True)),
            "skip_corrupt": (TRUTH, ("no", 1, None)),
            "hold_out": (TRUTH, ("no", 0, None)),
            "folds": ("a whole number of at least 2 or none", (1, 2.5, "3", True)),
            "fold": (WHOLE + " or none", (-1, "0")),
        },
    ),
    *unknown("RunSpec", RunSpec, {"channels": ("known: first, last", ("middle", 5)), "model": ("known:", ("svm",))}),
    *unknown("RunSpec", RunSpec, {"scoring": ("did you mean 'accuracy'?", ("accuarcy", "Accuracy"))}),
    ("RunSpec(dataset='')", lambda: RunSpec(dataset=""), "dataset is '', expected a name or a path"),
    ("RunSpec(folds=3)", lambda: RunSpec(folds=3), "folds is 3 and fold is None, expected both or neither"),
    ("RunSpec(fold=3)", lambda: RunSpec(folds=3, fold=3), "fold is 3 of 3 folds, expected one in 0…2"),
    ("RunSpec(object)", lambda: RunSpec(params={"network": object()}), "network is"),
    ("RunSpec(infinite)", lambda: RunSpec(params={"learning_rate": INF}), "learning_rate is inf, expected a"),
    ("RunSpec.from_json(5)", lambda: RunSpec.from_json(5), "specification is an int, expected an object"),
    ("RunSpec.from_json(sed)", lambda: RunSpec.from_json({"sed": 1}), "specification: 'sed'; did you mean 'seed'?"),
    ("RunSpec.from_json(noise)", lambda: RunSpec.from_json({"randomization": 5}), "randomization is an int, expected an object"),
    *wrong(
        "Randomization",
        Randomization,
        {"labels": (PROBABILITY, ("half", True, None, [1], 2, -0.1, NAN, INF)), "permute_channels": (TRUTH, ("no", 1, None))},
    ),
    *unknown("Randomization", Randomization, {"pixels": ("", ("noise", True, None, 5, "True"))}),
    *unknown("Randomization", Randomization, {"label_mode": ("known: flip, permute, redraw", ("swap", 1))}),
]
_MODELS: list[Case] = [
    *wrong(
        "NetworkClassifier",
        checked(NetworkClassifier),
        {
            "network": ("a name or a factory (image_shape, n_classes) → module", (3, None)),
            "epochs": (COUNT, (0, 1.0, "9", True, None)),
            "batch_size": (COUNT, (-1, "x")),
            "learning_rate": (NUMBER + " or none", ("fast", -1, INF)),
            "momentum": (SHARE, (2, NAN)),
            "decay": (SHARE, (None, 1.1)),
            "decay_steps": (COUNT + ", 'auto' or none", (0, "never")),
            "weight_decay": (NUMBER, ([1], "much")),
            "dropout": (SHARE, (1.5, True)),
            "augment": ("a text, a list, names with their values or none", (5, True, ["crop", 5])),
            "label_smoothing": (SHARE, (-0.1,)),
            "auxiliary": (NUMBER, ("x",)),
            "weights": ("a text, a path or none", (5,)),
            **dict.fromkeys(("stop_when_fitted", "evaluate_train", "track_examples", "compile", "sync_batch_norm"), (TRUTH, ("no", 1))),
            "stop_at_loss": (NUMBER + " or none", (-1, "low", NAN)),
            "crop": (COUNT + ", 'auto' or none", (-1, "all")),
            "accumulate": (COUNT, (0,)),
            "asynchronous": (WHOLE, (-1, True)),
            "staleness": (WHOLE + " or none", (0.5,)),
            "device": ("a device of torch such as 'cpu' or 'cuda:0', or 'auto'", ("abacus", 0, None)),
            "workers": (WHOLE + " or none", (1.5,)),
            "checkpoint_every": (NUMBER, (-1, NAN)),
            "order_seed": (WHOLE + " or none", ("x",)),
            "random_state": (WHOLE, ("x", -1, 0.5)),
        },
    ),
    *unknown(
        "NetworkClassifier",
        checked(NetworkClassifier),
        {"standardize": ("known: auto", ("zca", True)), "precision": ("", ("float16", 32)), "network": ("known: alexnet", ("vgg", ""))},
    ),
    (
        "NetworkClassifier(strength)",
        lambda: checked(NetworkClassifier)(augment={"crop": "x"}),
        "augmentation crop is 'x', expected a number",
    ),
    ("NetworkClassifier(augmentation)", lambda: checked(NetworkClassifier)(augment={"crp": 1}), "unknown augmentation 'crp'; did you mean"),
    *(
        (f"NetworkClassifier.{name}(Dataset)", partial(with_digits, name), "X is a Dataset, expected one of its splits, such as data.train")
        for name in ("fit", "predict", "score")
    ),
    ("NetworkClassifier.fit(test)", lambda: small().fit(X, y, test=(X, y)), "expected a Split, such as data.test, or none"),
    (
        "NetworkRegressor.fit(texts)",
        lambda: NetworkRegressor().fit(X, np.array(["a"] * 20)),
        "y has type <U1 and shape (20,), expected one",
    ),
    ("MEASURES(model)", lambda: MEASURES["distance"](small()), "fitted is a NetworkClassifier, expected a Fitted, as as_fitted"),
    *wrong(
        "KernelInterpolatorClassifier",
        fitted(KernelInterpolatorClassifier),
        {
            "kernel": ("'gaussian', 'linear' or a function", (5, "cubic", None)),
            "gamma": ("a number above 0 or 'scale'", (0, None, NAN)),
            "ridge": (NUMBER, ("x", True, -1)),
            "features": ("a text or none", (5,)),
            "tol": (NUMBER, (NAN, "x")),
            "max_steps": (COUNT, (0, 1.5)),
            "memory_limit": ("a number above 0 or none", (-5, "all")),
            "device": ("a device of torch such as 'cpu' or 'cuda:0', or 'auto'", ("abacus",)),
            "verbose": ("true or false or a whole number", ("x",)),
        },
    ),
    *unknown(
        "KernelInterpolatorClassifier",
        fitted(KernelInterpolatorClassifier),
        {
            "kernel": ("did you mean 'gaussian'? (known: gaussian, linear, or a function)", ("gausian",)),
            "solver": ("known: auto, cg, cholesky", ("lu", 5)),
            "features": ("", ("gabour",)),
        },
    ),
    *wrong(
        "RandomConvClassifier",
        fitted(RandomConvClassifier),
        {
            "n_filters": (COUNT, (0, "many")),
            "patch": (COUNT, ("6", 1.5)),
            "image_shape": ("3 values or none", (5, (1, 2), (1, 2, 0))),
            "cache": ("a text, a path or none", (5,)),
            "random_state": (WHOLE, (None, -1)),
            "ridge": (NUMBER, (-1,)),
        },
    ),
    *unknown("RandomConvClassifier", fitted(RandomConvClassifier), {"recipe": ("known: a, b", ("c", None))}),
    *wrong(
        "ReluInterpolatorClassifier",
        fitted(ReluInterpolatorClassifier),
        {
            "depth": ("a whole number of at least 2", (1, 2.5)),
            "candidates": (COUNT, (0, "x")),
            "rounds": (WHOLE, (-1,)),
            "tol": (NUMBER, ("x", NAN)),
            "random_state": (WHOLE, (0.5, None)),
        },
    ),
]
_DATA: list[Case] = [
    ("Split(array)", lambda: Split(X, y, ("a", "b")), "inputs are a ndarray, expected a tensor: dataset_from_arrays makes splits of"),
    ("Split(labels)", lambda: Split(torch.zeros(2, 3), [0, 1], ("a", "b")), "labels are a list, expected a tensor"),
    (
        "Split(no classes)",
        lambda: Split(torch.zeros(2, 3), torch.arange(2)),
        "expected float64 and (2,) for a regression, as classes names",
    ),
    ("Dataset(X, y)", lambda: Dataset(X, y), "train is a ndarray, expected a Split: dataset_from_arrays makes a Dataset of arrays"),
    *wrong(
        "load_dataset",
        partial(load_dataset, "digits"),
        {
            **dict.fromkeys(("n_train", "n_test", "n_validation"), (COUNT + " or none", (0, "5", 2.5, True, [1]))),
            "seed": (WHOLE, ("x", -1, None)),
            "hold_out": (TRUTH, ("no", 1)),
            "image_size": (COUNT + " or none", (0, "32")),
            "skip_corrupt": (TRUTH, ("no",)),
            "channels": ("'first', 'last' or none", ("middle", 5)),
        },
    ),
    ("load_dataset(n_train=99999)", lambda: load_dataset("digits", 99999), "n_train is 99999, expected 1…1297"),
    (
        "load_dataset(X, y)",
        lambda: load_dataset(X, y),
        "n_train is a ndarray, expected a number of examples; inputs and labels go together",
    ),
    ("load_dataset(Bunch)", lambda: load_dataset(load_iris()), "dataset is a Bunch, expected a name"),
    ("load_dataset(Bunch), remedy", lambda: load_dataset(load_iris()), "or a torch or Hugging Face dataset: its (data, target)"),
    *(
        (f"randomize({bad!r})", partial(noisy, bad), f"randomization is {bad!r}, expected a Randomization, such as")
        for bad in (1.0, "permuted-labels", None)
    ),
    ("load_dataset('')", lambda: load_dataset(""), "dataset is '', expected a name or a path"),
    ("load_dataset('digit')", lambda: load_dataset("digit"), "unknown dataset 'digit'; did you mean 'digits'?"),
    *((f"load_dataset({bad!r})", partial(load_dataset, bad), "dataset is a") for bad in (5, None, [], {}, (1, 2, 3))),
]
_RUNS: list[Case] = [
    ("grid(lables)", lambda: grid({"lables": [0]}), "unknown field of a sweep: 'lables'; did you mean 'labels'?"),
    ("grid(epochs)", lambda: grid({"epochs": 5}), "or a parameter of the model, which goes into params (in a file: set)"),
    ("grid(5)", lambda: grid(5), f"axes is 5, expected {MAPPING}"),
    ("grid(params=5)", lambda: grid({}, 5), f"params is 5, expected {MAPPING}"),
    ("grid([])", lambda: grid({"seed": []}), "seed is an empty list, expected at least one value"),
    ("grid([1, 1])", lambda: grid({"seed": [1, 1]}), "seed has 1 twice, expected each value once"),
    ("grid(['1'])", lambda: grid({"seed": ["1"]}), "seed is '1', expected a whole number"),
    ("grid(svm)", lambda: grid({"model": ["svm"]}), "unknown model 'svm'"),
    ("sweep(5)", lambda: sweep(5, Store("failing")), "specs has 5, expected a list of RunSpec and StudySpec"),
    ("sweep({})", lambda: sweep({"labels": [0]}, Store("failing")), "expected a list of RunSpec and StudySpec, as grid makes one"),
    ("sweep(text)", lambda: sweep("digits", Store("failing")), "specs has 'd', expected a list of RunSpec and StudySpec"),
    ("sweep(store)", lambda: sweep([SPEC], "runs"), "store is 'runs', expected a Store, such as Store('runs')"),
    *wrong("sweep", swept, {"jobs": (COUNT + " or none", (0, -1, 1.5, "2", True))}),
    *unknown("sweep", swept, {"engine": ("known: local, ray", ("spark", 5))}),
    ("sweep(log=5)", lambda: swept(log=5), "log has 5, expected a name"),
    (
        "sweep(log)",
        lambda: swept(log="tensorbord"),
        "unknown logger 'tensorbord'; did you mean 'tensorboard'? (known: mlflow, tensorboard, wandb)",
    ),
    ("run(5)", lambda: run(5, Store("failing")), "spec is 5, expected a RunSpec, a StudySpec or a PermutationsSpec"),
    ("run(store)", lambda: run(SPEC, "runs"), "store is 'runs', expected a Store, such as Store('runs')"),
    ("shatter_point(store)", lambda: shatter_point(SPEC, "runs"), "store is 'runs', expected a Store, such as Store('runs')"),
    ("run(on_epoch)", lambda: run(SPEC, Store("failing"), on_epoch=5), "on_epoch is 5, expected a function or none"),
    ("run(log)", lambda: run(SPEC, Store("failing"), log=[5]), "log has 5, expected a name"),
    *(
        (f"Store({bad!r})", partial(Store, bad), f"store is {bad!r}, expected a folder or a URL")
        for bad in ("", None, 5, b"runs", ["runs"])
    ),
    ("Store(file)", lambda: Store("notes.txt"), "store notes.txt is a file, expected a folder"),
    ("Store.runs()", lambda: Store("missing").runs(), "store missing does not exist, expected a folder of runs"),
    *((f"Store.find({bad!r})", partial(Store("runs").find, bad), "expected") for bad in ("", "xyz", "digits", 5, None)),
    ("Store.get(5)", lambda: Store("runs").get(5), "spec is 5, expected a Spec"),
    *wrong(
        "shatter_point",
        searched,
        {
            "accuracy": ("a number above 0, at most 1", (0, 2, NAN, "1", True)),
            "n_min": (COUNT, (0, 1.5, None)),
            "n_max": (COUNT + " or none", (0, "x")),
            "steps": (COUNT, (0, True)),
            "n_seeds": (COUNT, (0, 1.5)),
        },
    ),
    ("shatter_point(n)", lambda: searched(n_min=200, n_max=100), "n_min is 200 and n_max is 100, expected 10 <= n_min <= n_max <= 1297"),
    ("shatter_point(5)", lambda: shatter_point(5, Store("failing")), "spec is 5, expected a RunSpec"),
    *wrong("Ray", Ray, {"cpus_per_run": ("a number above 0", (0, "1", NAN)), "gpus_per_run": (NUMBER, (-1, True))}),
    ("Ray(gpus_per_run=1.5)", lambda: Ray(gpus_per_run=1.5), "gpus_per_run is 1.5, expected a whole number above 1"),
    *((f"Ray(address={bad!r})", partial(Ray, address=bad), f"address is {bad!r}, expected") for bad in (5, "")),
]
_TESTS: list[Case] = [
    *wrong(
        "randomization_test",
        tested,
        {
            "n_permutations": (COUNT, (0, -1, 1.5, True, "3", None)),
            "cv": ("", (1, 0, 2.5, "3", True)),
            "stop_after": (COUNT + " or none", (0, 1.5, "3")),
            "n_train": (COUNT + " or none", (0, "5", 1.5)),
            "n_test": (COUNT + " or none", (-1, 0.5)),
            "image_size": (COUNT + " or none", ("x", 0)),
            "skip_corrupt": (TRUTH, ("no",)),
            "seed": (WHOLE, (-1, None, "0", 1.5)),
            "budget": ("a time such as '90s', '5min' or '1h'", (0, -5, "soon", "", NAN, INF, True, [5])),
            "jobs": (COUNT + " or none", (0, 1.5, "2", True)),
            "randomizations": ("a list of at least one", ([], "permuted-labels", 5)),
            "scoring": ("a text, a function or none", (5,)),
            "hyperparameters": (MAPPING + " or none", (5, "epochs=3")),
            "store": ("a", (5,)),
        },
    ),
    *unknown("randomization_test", tested, {"inputs": ("known: auto, images, table", ("pixels", 5)), "engine": ("", ("spark",))}),
    *unknown("randomization_test", tested, {"scoring": ("did you mean 'accuracy'?", ("accuarcy",))}),
    ("randomization_test(n_train=1)", lambda: tested(n_train=1), "n_train is 1, expected at least 2, an example of each class"),
    (
        "randomization_test(y='label')",
        lambda: randomization_test(NEIGHBORS, X, "label"),
        "y is 'label', expected one label an example; the name of a column of labels is target='label'",
    ),
    ("randomization_test(store='')", lambda: tested(store=""), "store is '', expected a folder or a URL"),
    (
        "randomization_test(n_permutations=name)",
        lambda: tested(n_permutations={"noise": 3}),
        "unknown randomization in n_permutations: 'noise'",
    ),
    (
        "randomization_test(n_permutations={0})",
        lambda: tested(n_permutations={"permuted-labels": 0}),
        f"n_permutations is 0, expected {COUNT}",
    ),
    ("randomization_test(noise)", lambda: tested(randomizations=["noise"]), "unknown randomization 'noise'; known: corrupted-labels"),
    ("randomization_test([5])", lambda: tested(randomizations=[5]), "randomizations has 5, expected names and instances of Randomization"),
    (
        "randomization_test(twice)",
        lambda: tested(randomizations=["random-labels", Randomization(1)]),
        "randomizations has 'random labels' twice",
    ),
    ("randomization_test(nothing)", lambda: tested(randomizations=[Randomization()]), "randomizations has one that randomizes nothing"),
    (
        "randomization_test(hyperparameters)",
        lambda: tested(hyperparameters={"neighbors": 3}),
        "unknown parameter of KNeighborsClassifier: 'neighbors'",
    ),
    (
        "randomization_test(hyperparameters 0)",
        lambda: tested(hyperparameters={"n_neighbors": 0}),
        "n_neighbors is 0, expected an int in the range [1, inf)",
    ),
    ("randomization_test(log)", lambda: tested(log="nolog"), "unknown logger 'nolog'; known: mlflow, tensorboard, wandb"),
    *(
        (f"randomization_test({bad!r})", lambda bad=bad: randomization_test(bad, (X, y)), sentence)
        for bad, sentence in (
            (5, "model is 5, expected an estimator"),
            (None, "model is None, expected an estimator"),
            ([1], "model is [1], expected an estimator"),
            ("nonsense", "unknown model 'nonsense'; known:"),
            ("", "unknown model ''; known:"),
            ("model.py", "model is 'model.py', expected model.py:NAME"),
        )
    ),
    *(
        (f"randomization_test(data={bad!r})", lambda bad=bad: randomization_test(NEIGHBORS, bad), "expected a name, a path")
        for bad in (5, None, (1, 2, 3))
    ),
    (
        "randomization_test(data=nowhere)",
        lambda: randomization_test(NEIGHBORS, "nowhere"),
        "unknown dataset 'nowhere'; known: cifar10, cifar100, digits",
    ),
]
CALLS: list[Case] = [*_SPECS, *_MODELS, *_DATA, *_RUNS, *_TESTS]
