"""The cases of tests/test_bad_inputs.py."""

FILES: dict[str, str | bytes] = {
    "model.py": """
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
import os as module

number = 3
text = "KNeighborsClassifier"
nothing = None
neighbors = KNeighborsClassifier()
margins = LinearSVC()
pipeline = make_pipeline(KNeighborsClassifier())


class Needs(ClassifierMixin, BaseEstimator):
    def __init__(self, depth, width):
        self.depth, self.width = depth, width

    def fit(self, X, y):
        return self

    def predict(self, X):
        return X[:, 0]


class FitRaises(ClassifierMixin, BaseEstimator):
    def __init__(self, message="the floor is\\nlava\\x1b[2J", depth: int = 3):
        self.message, self.depth = message, depth

    def fit(self, X, y):
        raise RuntimeError(self.message)

    def predict(self, X):
        return X[:, 0]


class PredictRaises(KNeighborsClassifier):
    def predict(self, X):
        raise KeyError("no such neighbor")


class Raises:
    def __init__(self):
        raise OSError("no such file of mine")


class NoPredict(BaseEstimator):
    def fit(self, X, y):
        return self


def make():
    raise ZeroDivisionError("cannot be made")


def three(a, b, c):
    return a


def make_number():
    return 5


def make_function():
    return make


def train(split, seed):
    raise ValueError("the loss is no number")


def train_to_nothing(split, seed):
    return 7
""",
    "broken.py": "def broken(:\n",
    "raising.py": 'raise RuntimeError("this file\\ncannot be imported")\n',
    "importing.py": "import no_such_package_of_mine\n",
    "exiting.py": "import sys\nsys.exit(0)\n",
    "empty.py": "",
    "notes.txt": "some text",
    "binary.toml": b"seed = \xff",
    "five.json": "5",
    "none.json": "[]",
    "nothing.json": "{}",
    "twice.json": '{"seed": 1, "seed": 2}',
    "nan.toml": "labels = nan",
    "no.toml": 'permute_channels = "no"',
    "typo.toml": "lables = [0, 1]",
    "broken.toml": "labels = [",
}

_USAGE = [
    ("rnu", "unknown command 'rnu'; did you mean 'run'?"),
    ("RUN", "unknown command 'RUN'; did you mean 'run'?"),
    ("capcity", "unknown command 'capcity'; did you mean 'capacity'?"),
    ("xyzzy", "unknown command 'xyzzy'; known: capacity, completion, demo"),
    ("''", "unknown command ''"),
    ("--json run", "got '--json' before a command", "demo, test, run"),
    ("-x", "got '-x' before a command"),
    ("list", "lacks WHAT", "datasets, networks, models"),
    ("list datsets", "unknown WHAT 'datsets'; did you mean 'datasets'? (known: datasets, measures, models, networks)"),
    ("list modules", "unknown WHAT 'modules'; did you mean 'models'? (known: datasets, measures, models, networks)"),
    ("list datasets networks", "got 'networks', expected WHAT alone"),
    ("show", "shattering show lacks RUN, see shattering show --help"),
    ("show a b", "got 'b', expected RUN alone"),
    ("status extra", "shattering status got 'extra', expected options alone"),
    ("demo extra", "shattering demo got 'extra'"),
    ("run extra", "shattering run got 'extra', expected options alone, such as --data NAME and --model NAME"),
    ("capacity stability knn", "shattering capacity stability got 'knn', expected options alone, such as --data NAME and --model NAME"),
    ("run -- --json", "shattering run got '--json'"),
    ("run --labls 1", "unknown option '--labls' of shattering run; did you mean --labels?"),
    ("run --lab 1", "unknown option '--lab'"),
    ("run --n-trian 5", "unknown option '--n-trian'", "did you mean --n-train?"),
    ("run -n 5", "unknown option '-n' of shattering run"),
    (
        "test --model knn",
        "unknown option '--model' of shattering test; MODEL is given as a word, without --model",
    ),
    (
        "run --xyzzy",
        "unknown option '--xyzzy' of shattering run; see",
        "a parameter of the model is given as --set xyzzy=VALUE",
    ),
    ("run --json=maybe", "--json is 'maybe', expected no value"),
    ("run --skip-corrupt=true", "--skip-corrupt is 'true', expected no value"),
    ("run --no-hold-out=", "--no-hold-out is '', expected no value"),
    ("run --hold-out", "unknown option '--hold-out'", "did you mean --no-hold-out?"),
    ("run --no-json", "unknown option '--no-json'", "did you mean --json?"),
    ("run --n-train", "--n-train has no value, expected a whole number of at least 1"),
    ("run --n-train --json", "--n-train has no value"),
    ("run --n-train=", "--n-train is '', expected a whole number"),
    ("run --n-train ''", "--n-train is '', expected a whole number"),
    ("run --seed 1 --seed 2", "--seed is given twice, the second time as '2'"),
    ("run --set", "--set has no value, expected a text"),
    ("report --titel x", "unknown option '--titel'", "did you mean --title?"),
    ("report --title ''", "--title is ''"),
    ("paper --scale full", "shattering paper lacks WHAT, expected --store, --from, --json and --wide alone without it"),
    ("paper table9", "unknown WHAT 'table9'; did you mean 'table"),
    ("paper figure2", "unknown WHAT 'figure2'; did you mean 'figure2a' or 'figure2b'?"),
    ("paper table 1", "did you mean 'table1', 'table2', 'table3', 'table3-conv' or 'table4'?"),
    ("test random-forest --max-depth 5", "unknown option '--max-depth'", "a parameter of the model is given as --set max_depth=VALUE"),
    ("paper tabel1", "unknown WHAT 'tabel1'; did you mean 'table1'?"),
    ("paper table1 --scale medium", "unknown --scale 'medium'; known: demo, full, small"),
    ("paper table1 --scale", "--scale has no value, expected one of demo, small, full"),
    ("capacity radmacher", "unknown capacity command 'radmacher'; did you mean 'rademacher'?"),
    ("capacity --json", "shattering capacity got '--json' before a command"),
    ("test", "shattering test lacks MODEL"),
    ("test a b", "got 'b', expected MODEL alone"),
    ("sweep a b", "got 'b', expected FILE alone"),
    ("sweep", "sweep got neither a file nor an option"),
    ("sweep five.json --seed 1", "sweep got the file five.json and --seed"),
    ("sweep five.json --set epochs=1", "sweep got the file five.json and --set"),
]
_COUNT = "whole number of at least 1"
_TYPES = [
    *(
        (f"run --n-train {text}", f"--n-train is '{text}', expected a {_COUNT}")
        for text in ("abc", "1.5", "0", "-1", "true", "1_000", "nan", "1e400", "[1]")
    ),
    *((f"run --{name} 0", f"--{name} is '0', expected a {_COUNT}") for name in ("n-test", "n-validation", "image-size")),
    *((f"run --seed {text}", f"--seed is '{text}', expected a whole number of at least 0") for text in ("-1", "none", "0.5", "1e-1")),
    *((f"run --{name} x", f"--{name} is 'x', expected a whole number of at least 0") for name in ("data-seed", "noise-seed")),
    *(
        (f"run --labels {text}", f"--labels is '{text}', expected a probability")
        for text in ("2", "-0.1", "nan", "inf", "half", "50%", "0,5", "true")
    ),
    (
        "run --pixels noise",
        "unknown --pixels 'noise'; known: columns, gaussian, random, shifted",
    ),
    ("run --pixels shufled", "did you mean 'shuffled'?"),
    ("run --pixels ''", "--pixels ''"),
    ("run --label-mode swap", "unknown --label-mode 'swap'; known: flip, permute, redraw"),
    ("run --channels sideways", "unknown --channels 'sideways'; known: first, last"),
    ("run --data ''", "--data is ''"),
    ("run --model ''", "--model is ''"),
    ("run --store ''", "--store is ''"),
    ("test neighbors --data ''", "--data is ''"),
    ("test neighbors --out ''", "--out is '', expected a text"),
    ("test ''", "MODEL is ''"),
    ("show ''", "RUN is ''"),
    ("test x --inputs pixels", "unknown --inputs 'pixels'; known: auto, images, table"),
    *(
        (f"test x --n-permutations {text}", f"--n-permutations is '{text}', expected a {_COUNT}")
        for text in ("0", "-1", "1.5", "true", "many")
    ),
    *((f"test x --cv {text}", f"--cv is '{text}', expected a whole number of at least 2") for text in ("1", "0", "-3", "2.5")),
    *((f"test x --{name} 0", f"--{name} is '0', expected a {_COUNT}") for name in ("n-train", "n-test", "image-size", "jobs")),
    ("test x --seed -1", "--seed is '-1', expected a whole number of at least 0"),
    ("test x --engine spark", "unknown --engine 'spark'; known: local, ray"),
    ("test x --address here:1", "--address is here:1 beside --engine local"),
    ("test x --cpus-per-run 0", "--cpus-per-run is '0', expected a number above 0"),
    ("sweep --seed 0 --cpus-per-run 2", "--cpus-per-run is 2 beside --engine local"),
    ("sweep --seed 0 --gpus-per-run -1", "--gpus-per-run is '-1', expected a number of at least 0"),
    ("sweep --seed 0 --jobs 0", f"--jobs is '0', expected a {_COUNT}"),
    ("demo --jobs 0", f"--jobs is '0', expected a {_COUNT}"),
    ("demo --seed x", "--seed is 'x', expected a whole number"),
    ("paper table1 --jobs 1.5", f"--jobs is '1.5', expected a {_COUNT}"),
    *((f"capacity rademacher --n {text}", f"--n is '{text}', expected a whole number of at least 2") for text in ("0", "1", "-5", "x")),
    ("capacity rademacher --draws 0", f"--draws is '0', expected a {_COUNT}"),
    ("capacity stability --replaced 0", f"--replaced is '0', expected a {_COUNT}"),
    *(
        (f"capacity shatter-point --accuracy {text}", f"--accuracy is '{text}', expected a number above 0, at most 1")
        for text in ("0", "2", "nan", "99%")
    ),
    *(
        (f"capacity shatter-point --{name} 0", f"--{name} is '0', expected a {_COUNT}")
        for name in ("n-min", "n-max", "n-test", "steps", "seeds")
    ),
]
_SETTINGS = [
    ("epochs", "--set is 'epochs', expected name=value"),
    ("=3", "--set is '=3', expected name=value"),
    ("epochs=", "epochs is '', expected a whole number of at least 1"),
    ("epochs=many", "epochs is 'many', expected a whole number of at least 1"),
    ("epochs=0", "epochs is '0', expected a whole number of at least 1"),
    ("epochs=1.5", "epochs is '1.5', expected a whole number"),
    ("epochs=true", "epochs is 'true', expected a whole number"),
    ("epochs=3 --set epochs=4", "--set epochs is given twice"),
    ("epoch=3", "unknown parameter of model 'network': 'epoch'; did you mean 'epochs'?"),
    ("xyzzy=3", "unknown parameter of model 'network': 'xyzzy'; known: "),
    ("network=1", "unknown network '1'; known: alexnet"),
    ("network=vgg", "unknown network 'vgg'; known: alexnet"),
    ("network=small_cn", "unknown network 'small_cn'; did you mean 'small-cnn'?"),
    ("network=mlp-0x5", "unknown network 'mlp-0x5'; did you mean 'mlp-"),
    ("network=none", "unknown network 'none'"),
    ("device=abacus", "device is 'abacus', expected a device of torch"),
    ("device=1", "device is '1', expected a device of torch"),
    ("augment=cropp", "unknown augmentation 'cropp'; did you mean 'crop'?"),
    ("augment='[\"crop\"'", "unknown augmentation '[\"crop\"'"),
    ('augment=\'{"crop": "x"}\'', "augmentation crop is 'x', expected a number"),
    ("augment=5", "unknown augmentation '5'"),
    ("learning_rate=-1", "learning_rate is '-1', expected a number of at least 0 or none"),
    ("learning_rate=nan", "learning_rate is 'nan', expected a number of at least 0"),
    ("learning-rate=fast", "learning_rate is 'fast', expected a number"),
    ("momentum=2", "momentum is '2', expected a number in 0…1"),
    ("dropout=-0.5", "dropout is '-0.5', expected a number in 0…1"),
    ("stop_when_fitted=no", "stop_when_fitted is 'no', expected true or false"),
    ("stop_when_fitted=1", "stop_when_fitted is '1', expected true or false"),
    ("precision=float16", "unknown precision 'float16'; did you mean 'bfloat16'? (known: auto, bfloat16, float32)"),
    ("standardize=zca", "unknown standardize 'zca'; known: auto, feature, image, none, range"),
    ("random_state=3", "random_state is 3, expected none: the seed of the run gives it"),
    ("weights=missing.safetensors", "missing.safetensors"),
    ("workers=-1", "workers is '-1', expected a whole number of at least 0"),
    ("crop=0", "crop is '0', expected a whole number of at least 1, 'auto' or none"),
    ("decay_steps=never", "decay_steps is 'never', expected a whole number of at least 1, 'auto' or none"),
    ("staleness=2", "staleness is 2 where asynchronous is 0"),
    ("auxiliary=0.3", "auxiliary needs a network with an auxiliary classifier, found 'mlp-1x512'"),
]
_MODELS = [
    ("random-forest", "n_estimators=true", "n_estimators is 'true', expected an int in the range [1, inf)"),
    ("random-forest", "n_estimators=1.5", "n_estimators is '1.5', expected an int"),
    ("random-forest", "n_estimators=-5", "n_estimators is '-5', expected an int"),
    ("random-forest", "criterion=true", "criterion is 'true', expected a str among"),
    ("random-forest", "criterion=gin", "criterion is 'gin', expected a str among"),
    ("random-forest", "max_depth=deep", "max_depth is 'deep', expected an int"),
    ("random-forest", "bootstrap=no", "bootstrap is 'no', expected true or false"),
    ("random-forest", "n_estimator=3", "unknown parameter of model 'random-forest': 'n_estimator'; did you mean 'n_estimators'?"),
    ("logistic-regression", "C=-1", "C is '-1', expected a float in the range"),
    ("nearest-neighbors", "n_neighbors=0", "n_neighbors is '0', expected an int"),
    ("perceptron", "penalty=l3", "penalty is 'l3', expected a str among"),
    ("kernel", "kernel=cubic", "kernel is 'cubic', expected 'gaussian', 'linear' or a function"),
    ("kernel", "kernel=gausian", "unknown kernel 'gausian'; did you mean 'gaussian'?"),
    ("kernel", "gamma=0", "gamma is '0', expected a number above 0 or 'scale'"),
    ("kernel", "ridge=-1", "ridge is '-1', expected a number of at least 0"),
    ("kernel", "solver=lu", "unknown solver 'lu'"),
    ("kernel", "memory_limit=0", "memory_limit is '0', expected a number above 0"),
    ("kernel", "device=abacus", "device is 'abacus', expected a device of torch"),
    ("kernel", "features=gabour", "unknown features 'gabour'; did you mean 'gabor'?"),
    ("kernel", "tol=nan", "tol is 'nan', expected a number of at least 0"),
    ("random-conv", "recipe=c", "unknown recipe 'c'; known: a, b"),
    ("random-conv", "patch=0", "patch is '0', expected a whole number of at least 1"),
    ("random-conv", "image_shape=[1,2]", "image_shape is '[1,2]', expected 3 values or none"),
    ("relu", "tol=-1", "tol is '-1', expected a number of at least 0"),
    ("deep-relu", "depth=1", "depth is '1', expected a whole number of at least 2"),
]
_RUN = [
    ("run --model svm", "unknown model 'svm'; known:"),
    ("run --model Netwrok", "unknown model 'Netwrok'; did you mean 'network'?"),
    ("run --model random_forest", "unknown model 'random_forest'; did you mean 'random-forest'?"),
    ("run --data cifar11", "unknown dataset 'cifar11'"),
    ("run --data digit", "unknown dataset 'digit'; did you mean 'digits'?"),
    ("run --data /no/such/folder", "unknown dataset '/no/such/folder'"),
    ("run --log nolog", "unknown logger 'nolog'; known: mlflow, tensorboard, wandb"),
    ("run --log tensorboard", "log 'tensorboard' names no folder, expected tensorboard:FOLDER"),
    ("run --log tensorbord:x", "unknown logger 'tensorbord'; did you mean 'tensorboard'?"),
    ("run --log ''", "unknown logger ''"),
    ("run --store notes.txt", "store notes.txt is a file, expected a folder"),
    ("run --store notes.txt/runs", "notes.txt/runs"),
    ("run --store nosuch://bucket", "nosuch"),
]
_SWEEP = [
    (
        "sweep --pixels true,shufled",
        "unknown --pixels 'shufled'; did you mean 'shuffled'?",
    ),
    ("sweep --permute-channels no", "--permute-channels is 'no', expected true or false"),
    ("sweep --permute-channels true,1", "--permute-channels is '1', expected true or false"),
    ("sweep --hold-out maybe", "--hold-out is 'maybe', expected true or false"),
    ("sweep --seed ,", "--seed is ',', expected a value, or several with a comma between two"),
    ("sweep --seed 0,,1", "--seed is '0,,1', expected a value"),
    ("sweep --seed 0,", "--seed is '0,', expected a value"),
    ("sweep --labels ''", "--labels is ''"),
    ("sweep --seed 0,1,0", "--seed has 0 twice, expected each value once"),
    ("sweep --labels 1,1.0", "--labels has 1.0 twice"),
    ("sweep --labels 0,half", "--labels is 'half', expected a probability of corruption"),
    ("sweep --seed 0-9", "--seed is '0-9', expected a whole number"),
    ("sweep --n-train 100,1e400", "--n-train is '1e400', expected a whole number"),
    ("sweep --model network,svm", "unknown model 'svm'"),
    ("sweep --data digits,nope", "unknown dataset 'nope'"),
    ("sweep --set epochs=3,3.0", "epochs has 3 twice, expected each value once"),
    ("sweep --set epochs=3,", "epochs is '3,', expected a value"),
    ("sweep --set epochs=3,many", "epochs is 'many', expected a whole number"),
    ('sweep --set \'augment=["crop","flop"]\'', "unknown augmentation 'flop'; did you mean 'flip'?"),
    ("sweep --set batch_size=1 --set batch-size=2", "batch_size is set twice"),
    ("sweep --model network,random-forest --set epochs=3", "unknown parameter of model 'random-forest': 'epochs'"),
    ("sweep missing.toml", "sweep file missing.toml is not there, expected a TOML or JSON file"),
    ("sweep a-folder", "sweep file a-folder is a folder, expected a TOML or JSON file"),
    ("sweep /dev/null", "sweep file /dev/null is no file, expected a TOML or JSON file"),
    ("sweep five.json", "sweep file five.json holds 5, expected a table of axes"),
    ("sweep none.json", "sweep file none.json is an empty list"),
    ("sweep nothing.json", "sweep file nothing.json has a table without a value"),
    ("sweep twice.json", "sweep file twice.json is not readable as JSON: 'seed' stands twice"),
    ("sweep binary.toml", "sweep file binary.toml is not readable, expected TOML in UTF-8"),
    ("sweep broken.toml", "sweep file broken.toml is not readable as TOML"),
    ("sweep notes.txt", "sweep file notes.txt is not readable as TOML"),
    ("sweep nan.toml", "labels is nan, expected a probability of corruption in 0…1"),
    ("sweep no.toml", "permute_channels is 'no', expected true or false"),
    ("sweep typo.toml", "unknown field of a sweep: 'lables'; did you mean 'labels'?"),
    ("sweep --seed 5 --log nolog", "unknown logger 'nolog'"),
]
_TEST = [
    ("nonsense", "unknown model 'nonsense'; known:"),
    ("small_cnn", "unknown model 'small_cnn'; did you mean 'small-cnn'?"),
    ("model.py", "model.py", "expected model.py:NAME"),
    ("sklearn.svm", "sklearn.svm", "expected sklearn.svm:NAME"),
    ("sklearn.svm.SVC", "sklearn.svm.SVC", "expected sklearn.svm:SVC, with a colon before the name of the class"),
    ("model.py:", "model.py:", "expected"),
    (":neighbors", "':neighbors'"),
    ("missing.py:x", "missing.py does not exist, expected a Python file"),
    ("a-folder:x", "module 'a-folder' cannot be imported"),
    ("broken.py:x", "broken.py", "SyntaxError"),
    ("raising.py:x", "raising.py raised while it was imported: RuntimeError: this file"),
    ("importing.py:x", "importing.py", "no_such_package_of_mine"),
    ("exiting.py:x", "exiting.py", "sys.exit(0)"),
    ("empty.py:x", "empty.py has no 'x'", "nothing is defined there"),
    ("notes.txt:x", "notes.txt"),
    ("nosuch.module:x", "module 'nosuch.module' cannot be imported"),
    ("sklearn.svm:SCV", "sklearn.svm has no 'SCV'; did you mean"),
    ("model.py:neighbours", "model.py has no 'neighbours'; did you mean 'neighbors'?"),
    ("model.py:neighbors.xyzzy", "has no 'xyzzy'"),
    ("model.py:number", "model is "),
    ("model.py:nothing", "model is None"),
    ("model.py:module", "model is <module"),
    ("model.py:text", "unknown model 'KNeighborsClassifier'"),
    ("model.py:Needs", "class Needs, which needs depth, width"),
    ("model.py:three", "function three takes a, b, c; expected (split, seed)"),
    ("model.py:make_number", "model is "),
    ("model.py:make_function", "make_function() returned a function without parameters"),
    ("model.py:neighbors --set n_neighbors=0", "n_neighbors is '0', expected an int"),
    ("model.py:neighbors --set neighbors=3", "unknown parameter of KNeighborsClassifier: 'neighbors'; did you mean"),
    ("model.py:pipeline --set kneighborsclassifier__n_neighbors=x", "kneighborsclassifier__n_neighbors is 'x', expected an int"),
    ("model.py:pipeline --set n_neighbors=3", "unknown parameter of Pipeline: 'n_neighbors'"),
    ("model.py:FitRaises --set depth=deep", "depth is 'deep', expected a whole number"),
    ("model.py:train --set epochs=3", "expected none beside a training function"),
    ("small-cnn --set epochs=none", "epochs is 'none', expected a whole number"),
    ("random-forest --set n_estimators=many", "n_estimators is 'many', expected an int"),
    *(
        (f"random-forest --budget {text}", f"budget is {text!r}, expected a time such as '90s', '5min' or '1h'")
        for text in ("0", "-5", "nan", "soon", "5parsecs", "1:30", "0min", "inf", "1e3min", "1.2.3s")
    ),
    ("random-forest --budget '5 parsecs'", "budget is '5 parsecs', expected a time"),
    ("random-forest --budget ''", "--budget is ''"),
    ("random-forest --randomizations noise", "unknown randomization 'noise'; known: corrupted-labels"),
    ("random-forest --randomizations permuted_lables", "did you mean 'permuted-labels'?"),
    ("random-forest --randomizations ''", "--randomizations is ''"),
    ("random-forest --randomizations ,", "--randomizations is ',', expected a value, or several with a comma between two"),
    ("random-forest --randomizations random-pixels,random-pixels", "randomizations has 'random-pixels' twice, expected each once"),
    ("random-forest --scoring accuarcy", "unknown scoring 'accuarcy'; did you mean 'accuracy'?"),
    ("random-forest --scoring ROC-AUC", "unknown scoring 'ROC-AUC'; did you mean 'roc_auc'?"),
    ("random-forest --scoring xyzzy", "unknown scoring 'xyzzy'; known:", "more"),
    ("random-forest --data nowhere", "unknown dataset 'nowhere'"),
    ("random-forest --data notes.txt", "notes.txt"),
    ("random-forest --n-train 5000", "n_train is 5000, expected 1…1297"),
    ("random-forest --n-test 501", "n_test is 501, expected 1…500"),
    ("random-forest --cv 3 --n-test 20", "folds are of the train split"),
    ("random-forest --image-size 8", "image_size is 8, expected none for digits"),
    ("random-forest --log nolog", "unknown logger 'nolog'"),
    ("random-forest --store notes.txt", "store notes.txt is a file"),
    ("random-forest --out a-folder", "--out is a-folder, which is a folder, expected a file"),
    ("random-forest --out notes.txt/report.html", "notes.txt"),
]
_CAPACITY = [
    ("rademacher --model svm", "unknown model 'svm'"),
    ("rademacher --data nope", "unknown dataset 'nope'"),
    ("rademacher --n 5000", "--n is 5000, expected 2…1297"),
    ("rademacher --set epoch=3", "unknown parameter of model 'network': 'epoch'; did you mean 'epochs'?"),
    ("rademacher --set epochs=many", "epochs is 'many'"),
    ("rademacher --out notes.txt", "--out is notes.txt, which is a file, expected a folder"),
    ("stability --replaced 5000", "--replaced is 5000, expected 1…200"),
    ("stability --n 1290 --replaced 20", "--replaced is 20, expected 1…7"),
    ("stability --n 5000", "--n is 5000, expected 10…1296"),
    ("stability --data nope", "unknown dataset 'nope'"),
    ("stability --model svm", "unknown model 'svm'"),
    ("shatter-point --n-min 200 --n-max 100", "n_min is 200 and n_max is 100"),
    ("shatter-point --n-min 5", "n_min is 5"),
    ("shatter-point --n-max 5000", "n_max is 5000"),
    ("shatter-point --n-test 5000", "--n-test is 5000, expected 1…500"),
    ("shatter-point --data nope", "unknown dataset 'nope'"),
    ("shatter-point --model svm", "unknown model 'svm'"),
    (
        "shatter-point --model mlp-1x512",
        "'mlp-1x512' is a network, expected the model 'network' with it as parameter: --set network=mlp-1x512",
    ),
    ("shatter-point --set epochs=0", "epochs is '0'"),
    ("shatter-point --out notes.txt", "--out is notes.txt, which is a file, expected a folder"),
]
_SHOWING = [
    ("status --store missing", "store missing does not exist, expected a folder of runs"),
    ("status --store notes.txt", "store notes.txt is a file, expected a folder"),
    ("status --store /dev/null", "store /dev/null is a file"),
    ("show abc", "start with 'abc': found none, expected one"),
    ("show digits", "start with 'digits': found 2 (digits-n50", "expected one"),
    ("show abc --store missing", "store missing does not exist, expected a folder of runs"),
    ("report --store missing", "store missing does not exist"),
    ("report --out a-folder", "--out is a-folder, which is a folder, expected a file"),
    ("report --out notes.txt/x/report.html", "notes.txt"),
    ("report --out /proc/report.html", "/proc/"),
    ("paper table1 --from missing", "--from is missing, expected a folder of runs"),
    ("paper table1 --from notes.txt", "store notes.txt is a file"),
    ("paper table1 --from ''", "--from is ''"),
    ("interrogate --from runs --data local", "--data is local beside --from, which runs nothing"),
    ("paper table1 --out notes.txt", "--out is notes.txt, which is a file, expected a folder"),
    ("paper table2 --data nope", "unknown dataset 'nope'"),
    ("paper table1 --data photos", "--data is photos beside table1, expected it beside table2, figure2a or all-imagenet alone"),
    ("demo --out a-folder", "--out is a-folder, which is a folder, expected a file"),
]

_LOADING = [  # bad only once the data are loaded; that leaves nothing in the store
    ("run --data notes.txt", "notes.txt", ".txt"),
    ("run --data a-folder", "a-folder"),
    ("run --n-train 99999", "n_train is 99999, expected 1…1297"),
    ("run --n-train 5", "n_train is 5, expected at least 10, an example of each class"),
    ("run --n-test 99999", "n_test is 99999, expected 1…500"),
    ("run --n-validation 99999", "n_validation is 99999, expected 1…"),
    ("run --image-size 32", "image_size is 32, expected none for digits"),
    ("test random-forest --n-train 1", "n_train is 1, expected at least 10"),
    ("test random-forest --n-train 9", "n_train is 9, expected at least 10"),
    ("test random-forest --cv 500", "500 folds"),
    ("test random-forest --cv 3 --n-train 20", "3 folds"),
]
COMMANDS: list[tuple[str, int | None, tuple[str, ...]]] = [
    *((command, 2, fragments) for command, *fragments in (*_USAGE, *_TYPES)),
    *((f"run --set {setting}", 1, (fragment,)) for setting, fragment in _SETTINGS),
    *((f"run --model {model} --set {setting}", 1, (fragment,)) for model, setting, fragment in _MODELS),
    *((command, None, fragments) for command, *fragments in (*_RUN, *_SWEEP, *_SHOWING)),
    *((command, 1, fragments) for command, *fragments in _LOADING),
    *((f"test {command}", None, fragments) for command, *fragments in _TEST),
    *((f"capacity {command}", None, fragments) for command, *fragments in _CAPACITY),
]
_FAILED = [
    ("test model.py:NoPredict", "model NoPredict has no predict"),
    ("test model.py:margins --scoring neg_log_loss --n-train 50", "predict_proba"),
    ("test model.py:FitRaises", "FitRaises failed: RuntimeError: the floor is (traceback in failing/digits-FitRaises-s0-", "/failed.json)"),
    ("test model.py:FitRaises --set message=\x1b[31m", "FitRaises failed: RuntimeError: \\x1b[31m (traceback in "),
    ("test model.py:FitRaises --budget 5min", "FitRaises failed: RuntimeError: the floor is (SHATTERING_TRACEBACK=1 shows the traceback)"),
    ("test model.py:PredictRaises --n-train 50", "PredictRaises failed: KeyError: 'no such neighbor' (traceback in failing/digits-n50-"),
    ("test model.py:Raises", "Raises failed: OSError: no such file of mine (SHATTERING_TRACEBACK=1 shows the traceback)"),
    ("test model.py:make", "make failed: ZeroDivisionError: cannot be made (SHATTERING_TRACEBACK=1 shows the traceback)"),
    ("test model.py:train", "train failed: ValueError: the loss is no number (traceback in failing/"),
    ("test model.py:train_to_nothing", "train_to_nothing returned an int, expected a function"),
    (
        "run --model nearest-neighbors --n-train 50 --set n_neighbors=70",
        "nearest-neighbors failed: ValueError: Expected n_neighbors <= n_samples_fit, but n_neighbors = 70, n_samples_fit = 50",
        "(traceback in failing/digits-n50-nearest-neighbors-s0-",
    ),
    (
        "capacity shatter-point --model nearest-neighbors --n-min 20 --set n_neighbors=70",
        "nearest-neighbors failed: ValueError: Expected",
    ),
]
FAILURES: list[tuple[str, tuple[str, ...]]] = [(command, tuple(fragments)) for command, *fragments in _FAILED]
