"""Whatever a user can pass is told apart by its values and the code that would run, and by nothing else."""

import collections
import copy
import dataclasses
import datetime
import enum
import functools
import logging
import random
import re
import sys
import textwrap
import threading
import time
import types
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import scipy.stats
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from torch import nn

from shattering import InputError
from shattering.identity import installed
from shattering.identity.digest import IdentityWarning, digest, identify
from shattering.learners.network import NetworkClassifier

f, g = (lambda x: x + 1), (lambda x: x + 2)


def alike(*things):
    return len({digest(thing) for thing in things}) == 1


def apart(*things):
    return len({digest(thing) for thing in things}) == len(things)


def defined(source: str, name: str, file: str = "user.py"):
    """What a user's notebook defines."""
    scope: dict = {"__name__": "__main__"}
    exec(compile(textwrap.dedent(source), file, "exec"), scope)
    return scope[name]


class Text(str):
    __slots__ = ()


class Raw(bytes):
    pass


class Real(float):
    pass


class Whole(int):
    pass


class Plain:
    def __init__(self, **values):
        vars(self).update(values)


def test_values_that_python_calls_equal_are_told_apart():
    assert apart(0, 0.0, -0.0, False, None, 0j, "0", b"0", np.float64(0), np.float32(0), np.int64(0), np.bool_(False), Whole(0), Real(0))
    assert apart("a", Text("a"), b"a", Raw(b"a"), bytearray(b"a"), np.str_("a"), memoryview(b"a"), "b")
    assert apart(10**5000, 10**5000 + 1, -(10**5000))
    assert alike(float("nan"), float("nan"))
    assert apart(float("nan"), float("inf"), -float("inf"))
    assert apart("\ud800", "\ud801", "\u00e9", "e\u0301")


def test_where_one_value_ends_and_the_next_begins_is_seen():
    assert apart(["ab", "c"], ["a", "bc"], ["abc"], [["ab"], "c"], [["ab", "c"]], ("ab", "c"), {"ab": "c"}, {"a": "bc"}, {"ab", "c"}, [])
    assert apart([1, [2]], [[1], 2], [[1, 2]], [1, 2], [], [[]], [[], []], None)
    assert apart(np.array(["ab", "c"], object), np.array(["a", "bc"], object), np.array(["ab", "c"]))


def test_a_repeated_object_counts_by_its_first_visit():
    a, b = np.zeros(3), np.zeros(3)
    assert apart([f, g, f], [f, g, g], [f, f, g])
    assert apart([a, b, a], [a, b, b], [a, b, np.zeros(3)])
    assert apart({1: f, 2: g, 3: f}, {1: f, 2: g, 3: g})
    assert apart(Plain(x=a, y=b, z=a), Plain(x=a, y=b, z=b))
    assert apart(functools.partial(f, a, b, a), functools.partial(f, a, b, b))
    assert apart(FunctionTransformer(f, kw_args={"a": a, "b": b, "c": a}), FunctionTransformer(f, kw_args={"a": a, "b": b, "c": b}))
    assert apart([{f}, f], [{f}, g], [{g}, f])
    layer = nn.Linear(2, 2)
    assert apart(nn.Sequential(layer, layer), nn.Sequential(layer, copy.deepcopy(layer)))
    assert apart([a, a[1:]], [a, a[1:].copy()])
    assert alike([a[:1], a[1:]], [np.zeros(1), np.zeros(2)]), "parts of one array that do not overlap share nothing"
    tensor = torch.ones(4)
    assert apart([tensor, tensor.view(2, 2)], [tensor, torch.ones(2, 2)])


def test_constants_are_values_whether_or_not_python_makes_them_one_object():
    one, other = (1, ("a", 2.0)), (1, ("a", 2.0))
    assert alike([one, one], [one, tuple(item for item in other)])


def test_circles_end():
    one: list = []
    one.append(one)
    two: list = [[]]
    two[0].append(two)
    node = Plain()
    node.self, node.set = node, {node}
    assert apart(one, two, [[]], node)
    assert alike(one, one)


def test_depth_and_repetition_are_no_trouble():
    deep: list = []
    for _ in range(20_000):
        deep = [deep]
    chain = None
    for _ in range(20_000):
        chain = Plain(next=chain)
    wide: tuple = (f,)
    for _ in range(100):
        wide = (wide, wide)
    nested = frozenset([f])
    for _ in range(20):
        nested = frozenset([nested, "x"])
    assert apart(deep, chain, wide, nested)


def test_the_order_of_sets_does_not_count_and_that_of_others_does():
    assert alike({"a", "b", f}, {f, "b", "a"})
    assert alike({frozenset([f, g]), frozenset([g])}, {frozenset([g]), frozenset([g, f])})
    assert apart({"a": 1, "b": 2}, {"b": 2, "a": 1}), "a dictionary of layers has an order"
    assert apart(collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1))
    assert alike(functools.partial(f, a=1, b=2), functools.partial(f, b=2, a=1))
    assert apart(functools.partial(lambda **k: k, a=1, b=2), functools.partial(lambda **k: k, b=2, a=1))


def test_sets_whose_items_refer_to_each_other_in_every_way_are_given_up_not_waited_for():
    nodes = [Plain() for _ in range(9)]
    for node in nodes:
        node.peers = set(nodes)
    start = time.process_time()
    assert "refer to each other in too many ways" in identify(nodes, "nodes")[1][0]
    assert time.process_time() - start < 60


def test_arrays():
    table = np.arange(12).reshape(3, 4)
    assert apart(table, table.T, table.reshape(4, 3), table.astype("i4"), table.astype(">i8"), table + 1, table.tolist(), table[:0])
    assert alike(table.T, table.T.copy(), np.asfortranarray(table.T))
    assert alike(table[::2, ::-1], table[::2, ::-1].copy())
    assert apart(np.array([1, 2], object), np.array([1, 2.0], object), np.array([True, 2], object), np.array([1, 2]))
    assert apart(np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[0, 0]), np.array([1, 2]), np.array([[1, 2]]))
    assert apart(np.array(["2020-01-01"], "M8[D]"), np.array(["2020-01-02"], "M8[D]"), np.array(["2020-01-01"], "M8[s]"))
    text = np.array(["a", "long enough to lie elsewhere in memory"], dtype=np.dtypes.StringDType())
    assert alike(text, text.copy())
    assert apart(text, np.array(["a", "long enough to lie elsewhere in memorY"], dtype=np.dtypes.StringDType()))


def test_structured_arrays_count_by_their_fields_not_by_what_lies_between_them():
    kind = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    clean, dirty = np.zeros(4, kind), np.frombuffer(bytearray(b"\x55" * 4 * kind.itemsize), kind).copy()
    for one in (clean, dirty):
        one["a"], one["b"] = 1, 2
    assert alike(clean, dirty)
    other = clean.copy()
    other["b"][3] = 5
    assert apart(clean, other, clean.astype([("a", "i1"), ("c", "f8")]), clean.view(np.recarray))
    assert apart(np.zeros(2, [("a", "O")]), np.array([(1,), (f,)], [("a", "O")]))
    wide = np.ones(2, np.longdouble)
    padded = wide.copy()
    padded.view(np.uint8)[10:16] = 7
    assert alike(wide, padded) or np.finfo(np.longdouble).nmant != 63


def test_tensors():
    ones = torch.ones(2, 2)
    kinds = [ones, ones.bfloat16(), ones.half(), ones.double(), ones.int(), ones.bool(), ones.cfloat(), ones.to_sparse()]
    kinds += [ones.clone().requires_grad_(), nn.Parameter(ones.clone()), nn.Parameter(ones.clone(), requires_grad=False), torch.ones(4)]
    assert apart(*kinds, torch.tensor(1.0), torch.tensor(1.0).bfloat16(), torch.tensor(1.0078125).bfloat16(), torch.empty(0))
    assert apart(torch.tensor([1j]), torch.tensor([1j]).conj())
    assert alike(ones, torch.ones(2, 4)[:, :2], torch.ones(2, 2).T)
    assert alike(torch.device("cpu"), torch.device("cuda"))
    assert apart(torch.float32, torch.bfloat16)
    marked = nn.Parameter(ones.clone())
    marked.no_decay = True
    assert apart(marked, nn.Parameter(ones.clone()))


def test_tables():
    table = pd.DataFrame({"a": [1, 2], "b": [1.0, None], "c": ["x", "y"]})
    pieces = pd.DataFrame({"a": [1, 2]})
    pieces["b"], pieces["c"] = [1.0, None], ["x", "y"]
    assert alike(table, pieces, table.copy()), "however pandas holds it"
    edits = [table.rename(columns={"a": "z"}), table[["b", "a", "c"]], table.astype({"a": "int32"}), table.set_index("a"), table.iloc[::-1]]
    edits += [table.astype({"a": "Int64"}), table.astype({"c": "category"}), table.assign(c=["x", "z"]), table.assign(b=[1.0, 2.0])]
    assert apart(table, *edits)
    for kind in ("Int64", "boolean", "string", "category", "Float32", "object", "str"):
        assert alike(pd.Series([1, 0, None], dtype=kind), pd.Series([1, 0, None], dtype=kind))
        assert apart(pd.Series([1, 0, None], dtype=kind), pd.Series([1, 1, None], dtype=kind), pd.Series([1, None, 0], dtype=kind))
    assert apart(pd.Series(["b", "a"], dtype=pd.CategoricalDtype(["a", "b"])), pd.Series(["b", "a"], dtype=pd.CategoricalDtype(["b", "a"])))
    assert apart(pd.Series([1], name="a"), pd.Series([1]), pd.Index([1]), pd.Series([1], index=[1]))
    assert apart(pd.to_datetime(["2020"]), pd.to_datetime(["2021"]), pd.to_datetime(["2020"]).tz_localize("UTC"))
    others = [pd.interval_range(0, 2), pd.interval_range(1, 3), pd.period_range("2020", periods=2), pd.MultiIndex.from_tuples([(1, 2)])]
    assert apart(*others, pd.arrays.SparseArray([0, 1]), pd.NA, pd.NaT, pd.Timestamp("2020"), pd.Timedelta("1s"))
    matrix = sp.csr_matrix([[0, 1], [2, 0]])
    assert alike(matrix, matrix.copy(), sp.coo_matrix(([1, 1, 1], ([0, 1, 1], [1, 0, 0]))).tocsr())
    assert apart(matrix, matrix.tocsc(), sp.csr_array(matrix), matrix * 2, matrix.astype("f4"), matrix[:, :1])


def test_generators_count_by_their_state_and_the_global_ones_do_not():
    assert apart(*(make(seed) for make in (np.random.default_rng, np.random.RandomState, random.Random) for seed in (0, 1)))
    assert alike(np.random.default_rng(3), np.random.default_rng(3))
    drawn = np.random.default_rng(0)
    drawn.random()
    assert apart(drawn, np.random.default_rng(0))
    assert apart(torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))
    before = [digest(one) for one in (random.random, np.random.rand, np.random.mtrand._rand)]
    random.random()
    np.random.rand()  # noqa: NPY002
    assert before == [digest(one) for one in (random.random, np.random.rand, np.random.mtrand._rand)]


def test_objects_of_every_make():
    class Colour(enum.Enum):
        RED = 1
        BLUE = 2

    class Right(enum.Flag):
        READ = 1
        WRITE = 2

    class Slots:
        __slots__ = ("__hidden", "shown")

        def __init__(self, shown, hidden):
            self.shown, self.__hidden = shown, hidden

    class Later(datetime.date):
        pass

    class Keyed(dict):
        pass

    @dataclasses.dataclass
    class Data:
        x: int = 1
        y: list = dataclasses.field(default_factory=list)

    point = collections.namedtuple("point", "a b")
    things = [Colour.RED, Colour.BLUE, Right.READ, Right.READ | Right.WRITE, Slots(1, 2), Slots(2, 1), Later(2020, 1, 1), Later(2020, 1, 2)]
    things += [Keyed(a=1), Keyed(a=2), {"a": 1}, Data(), Data(2), Data(y=[1]), point(1, 2), point(2, 1), (1, 2), Plain(a=1), Plain(a=2)]
    things += [collections.Counter("a"), collections.deque([1]), collections.deque([1], 3), collections.defaultdict(int, a=1)]
    things += [
        collections.defaultdict(list, a=1),
        re.compile("a"),
        re.compile("a", re.IGNORECASE),
        Path("a"),
        Path("b"),
        slice(1),
        range(1),
    ]
    things += [
        scipy.stats.loguniform(1, 2),
        scipy.stats.loguniform(1, 3),
        scipy.stats.norm,
        types.SimpleNamespace(a=1),
        f.__code__,
        g.__code__,
    ]
    assert apart(*things)
    for make in (lambda: Slots(1, 2), lambda: Later(2020, 1, 1), lambda: Data(), lambda: point(1, 2), lambda: scipy.stats.loguniform(1, 2)):
        assert alike(make(), make())
    assert apart(dataclasses.make_dataclass("M", ["a"]), dataclasses.make_dataclass("M", ["b"]))


def test_what_cannot_change_a_result_does_not_count():
    assert alike(threading.Lock(), threading.Lock())
    assert alike(logging.getLogger("a"), logging.getLogger("b"))
    assert alike(weakref.WeakKeyDictionary(), weakref.WeakKeyDictionary({Plain: 1}))
    assert alike(Plain(a=1, log=sys.stderr), Plain(a=1, log=sys.stderr))
    cached = functools.lru_cache(f)
    before = digest(cached)
    cached(1)
    assert digest(cached) == before
    assert apart(cached, functools.lru_cache(g))


def test_a_result_that_an_object_keeps_does_not_count():
    class Lazy:
        def __init__(self, a):
            self.a = a

        @functools.cached_property
        def twice(self):
            return 2 * self.a

    used = Lazy(1)
    assert used.twice == 2
    assert alike(used, Lazy(1))
    assert apart(used, Lazy(2))


def test_functions_of_every_make():
    def made(n, *, k=0):
        def inner(x):
            return x + n + k

        return inner

    assert alike(made(1), made(1))
    things = [made(1), made(2), made(1, k=1), f, g, functools.partial(f, 1), functools.partial(f, 2), functools.partial(g, 1), [].append]
    things += [
        [1].append,
        "a".join,
        "b".join,
        dict.fromkeys,
        str.join,
        print,
        len,
        np.sin,
        np.cos,
        np.linalg.norm,
        torch.relu,
        torch.sigmoid,
    ]
    things += [
        nn.functional.relu,
        Plain(a=1).__init__,
        Plain(a=2).__init__,
        np.vectorize(f),
        np.vectorize(g),
        Plain,
        Text,
        nn.Linear,
        nn.Conv2d,
    ]
    assert apart(*things)
    marked = made(1)
    marked.setting = 3
    assert apart(marked, made(1))

    @functools.singledispatch
    def dispatch(x):
        return x

    before = digest(dispatch)
    dispatch(1)
    assert digest(dispatch) == before, "what it remembers of its calls does not count"
    dispatch.register(int, f)
    assert digest(dispatch) != before


def test_variables_that_functions_share():
    def counter(shared):
        a = b = 0

        def one():
            return a if shared else b

        def two():
            nonlocal a
            a += 1

        return [one, two]

    assert apart(counter(True), counter(False))


NET = """
    from torch import nn
    WIDTH = 16
    def block(n):
        return nn.Sequential(nn.Linear(n, WIDTH), nn.ReLU())
    class Base(nn.Module):
        def scale(self, x):
            return 2 * x
    class Net(Base):
        def __init__(self, shape, n_classes):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), block(64), nn.Linear(WIDTH, n_classes))
        def forward(self, x):
            return self.body(self.scale(x))
"""


def test_code_that_no_module_has_counts_wherever_it_is():
    before = digest(defined(NET, "Net"))
    assert digest(defined("# a comment\n\n" + textwrap.dedent(NET), "Net", "elsewhere.py")) == before
    edits = [("WIDTH = 16", "WIDTH = 17"), ("nn.ReLU()", "nn.Tanh()"), ("2 * x", "3 * x"), ("self.body(self.scale(x))", "self.body(x)")]
    assert len({before, *(digest(defined(NET.replace(*edit), "Net")) for edit in edits)}) == 5
    unnamed: dict = {}
    exec(textwrap.dedent(NET), unnamed)
    assert digest(unnamed["Net"]) == before


def test_docstrings_count_where_code_reads_them():
    def of(text, reads):
        source = f'def make(a):\n    """{text}"""\n    return a\ndef use(x):\n    return {"make.__doc__" if reads else "make(x)"}\n'
        return digest(defined(source, "use"))

    assert of("one", reads=False) == of("two", reads=False) != of("one", reads=True) != of("two", reads=True)


def test_a_function_put_in_place_of_an_installed_one_is_seen(monkeypatch):
    net = defined("from torch import nn\nfrom torch.nn import functional as F\ndef use(x):\n    return F.relu(nn.Linear(2, 2)(x))\n", "use")
    before = digest(net)
    monkeypatch.setattr(nn.functional, "relu", f)
    patched = digest(net)
    monkeypatch.setattr(nn.Linear, "forward", g)
    assert len({before, patched, digest(net)}) == 3


def test_estimators_count_by_class_and_parameters():
    assert alike(make_pipeline(StandardScaler(), SVC(C=1.0)), make_pipeline(StandardScaler(), SVC(C=1.0)))
    assert apart(make_pipeline(StandardScaler(), SVC(C=1.0)), make_pipeline(StandardScaler(), SVC(C=2.0)), make_pipeline(SVC(C=1.0)))
    assert apart(FunctionTransformer(f), FunctionTransformer(g))
    assert alike(RandomForestClassifier(10, n_jobs=2, verbose=1), RandomForestClassifier(10))
    assert apart(RandomForestClassifier(10, random_state=1), RandomForestClassifier(10), RandomForestClassifier(11))
    grid = GridSearchCV(make_pipeline(StandardScaler(), SVC()), {"svc__C": [1, 2]}, cv=KFold(3), scoring=make_scorer(f1_score))
    assert alike(grid, clone(grid))
    search = [RandomizedSearchCV(SVC(), {"C": scipy.stats.loguniform(1, top)}) for top in (2, 2, 3)]
    assert alike(*search[:2])
    assert apart(*search[1:])


def test_what_has_been_fitted_counts_unless_it_will_be_fitted_anew():
    fitted = SVC().fit([[0.0], [1.0]], [0, 1])
    assert digest(fitted, context="cloned") == digest(SVC(), context="cloned")
    assert digest(make_pipeline(fitted), context="cloned") == digest(make_pipeline(SVC()), context="cloned")
    assert apart(fitted, SVC()), "a teacher that a training function asks"
    teachers = [defined("def train(split, seed):\n    return teacher", "train") for _ in range(2)]
    teachers[0].__globals__["teacher"], teachers[1].__globals__["teacher"] = fitted, SVC()
    assert apart(*teachers)
    frozen = [FrozenEstimator(SVC().fit([[0.0], [top]], [0, 1])) for top in (1.0, 2.0)]
    assert len({digest(one, context="cloned") for one in frozen}) == 2, "cloning leaves it as it is"


def test_a_device_does_not_count_and_a_parameter_that_is_called_so_does():
    class Measured(ClassifierMixin, BaseEstimator):
        def __init__(self, device=None):
            self.device = device

    assert alike(Measured("cuda:1"), Measured("cpu"), Measured(torch.device("cpu")), Measured())
    assert apart(Measured("thermometer"), Measured("barometer"), Measured())


def test_attributes_of_a_users_object_are_not_taken_for_ours():
    class Mine(ClassifierMixin, BaseEstimator):
        not_identity = ("C",)
        later = {"C": 1}  # noqa: RUF012
        files = ("C",)
        content = described = None

        def __init__(self, C=1):
            self.C = C

    assert apart(Mine(1), Mine(2))
    assert apart(Plain(content=1), Plain(content=2))


def test_our_own_models(tmp_path):
    plain = digest(NetworkClassifier())
    assert digest(NetworkClassifier(device="cpu", compile=True, label_smoothing=0.0, auxiliary=0.0, weights=None)) == plain
    assert len({plain, *(digest(NetworkClassifier(**{name: 0.1})) for name in ("label_smoothing", "auxiliary", "dropout"))}) == 4
    for name, content in (("a.pt", b"one"), ("b.pt", b"one"), ("c.pt", b"two")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (digest(NetworkClassifier(weights=str(tmp_path / name))) for name in ("a.pt", "b.pt", "c.pt"))
    assert a == b != c
    with pytest.raises(InputError, match=r"weights '.*d\.pt' is no file"):
        digest(NetworkClassifier(weights=str(tmp_path / "d.pt")))


def test_torch_modules_count_by_all_that_they_are():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    edited = [copy.deepcopy(net) for _ in range(5)]
    edited[0][0].weight.requires_grad_(False)
    edited[1].eval()
    edited[2].register_forward_hook(lambda *_: None)
    edited[3][1].running_mean.add_(1)
    with torch.no_grad():
        edited[4][0].bias.add_(1e-6)
    assert apart(net, *edited, nn.Sequential(nn.Linear(3, 4)))
    assert alike(edited[2], copy.deepcopy(edited[2])), "the number that torch gives a hook does not count"
    assert alike(net, copy.deepcopy(net))
    assert alike(net, torch.compile(net, backend="eager"))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_scripted_modules_count_by_their_code_and_state():
    one, other = torch.jit.script(nn.Linear(2, 2)), torch.jit.script(nn.Linear(2, 2))
    assert alike(one, copy.deepcopy(one))
    assert apart(one, other)


def test_what_cannot_be_looked_into_is_named_and_never_the_same():
    source = "stream = (line for line in 'abc')\ndef train(split, seed):\n    return next(stream)\n"
    train = defined(source, "train")
    found = [identify(train, "train") for _ in range(2)]
    assert found[0][0] != found[1][0]
    assert found[0][1] == found[1][1] == ("train.stream (a generator): it cannot be pickled (TypeError)",)
    for thing in (open(__file__), np.frompyfunc(f, 1, 1)):  # noqa: SIM115
        with pytest.warns(IdentityWarning, match=r"model.a\[0\] .*, so no stored run is used again for it"):
            digest(Plain(a=[thing]), "model")
        getattr(thing, "close", bool)()

    class Hostile:
        @property
        def __dict__(self):
            raise RuntimeError("no")

    assert identify(Hostile(), "it")[1] == ("it (a Hostile): looking at it raised RuntimeError",)


@pytest.mark.parametrize("name", ["site-packages", "dist-packages"])
def test_what_lies_in_an_installed_folder_counts_by_distribution_and_version(name, tmp_path, monkeypatch):
    folder = tmp_path / "lib" / name
    package = folder / "borrowed_package"
    package.mkdir(parents=True)
    about = folder / "Borrowed_Package-1.2.dist-info"
    about.mkdir()
    (package / "__init__.py").write_text("def f(x):\n    return x\n")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: Borrowed-Package\nVersion: 1.2\n")
    (about / "RECORD").write_text("borrowed_package/__init__.py,,\n")
    (folder / "loose_module.py").write_text("def f(x):\n    return x\n")
    monkeypatch.syspath_prepend(str(folder))
    try:
        assert installed.of_spec("borrowed_package") == "Borrowed-Package 1.2"
        borrowed, loose = __import__("borrowed_package"), __import__("loose_module")
        assert installed.origin("borrowed_package") == "Borrowed-Package 1.2"
        assert installed.origin("loose_module").startswith("loose_module "), "without a version its source stands for it"
        before = digest(borrowed.f), digest(loose.f)
        for module in (borrowed, loose):
            exec("def f(x):\n    return 2 * x\n", vars(module))
        assert (digest(borrowed.f), digest(loose.f)) == before
    finally:
        sys.modules.pop("borrowed_package", None)
        sys.modules.pop("loose_module", None)


def test_whose_code_it_is():
    expected = {"numpy": "numpy ", "sklearn.svm": "scikit-learn ", "PIL.Image": "pillow ", "random": "python", "builtins": "python"}
    for name, start in {**expected, "math": "python", "shattering.errors": "shattering", "collections.abc": "python"}.items():
        assert str(installed.origin(name)).startswith(start), name
    assert installed.origin("__main__") is None
    assert installed.origin(__name__) is None
    assert installed.origin("no_such_module") is None
    assert installed.of_spec("no_such_module") == ""
    assert "+" not in str(installed.origin("torch")), "the build for a device is no other version"
