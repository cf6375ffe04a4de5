"""The files of a stored run, and the fields of each: the one description that is checked when a run is read, and that the docs show.

A field with `required` has to be there. Any other may be missing or null. A result may have further fields, which are the model's or the
study's own. docs/stored-runs.md shows these tables.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from shattering.parameters import Count, Limit, Natural, Range, Share, describe

VERSION = 1  # of result.json: a file that names no version has the first
LARGEST = 1e300  # a larger number is no measurement, and would overflow in computations


class _Measurable(Limit):
    """Numbers that can be worked with."""

    def __contains__(self, value: Any) -> bool:
        return abs(value) < LARGEST

    def __str__(self) -> str:
        return ""


class _Labelled(Limit):
    """Objects that have a label and a true_label."""

    def __contains__(self, value: Any) -> bool:
        return all(isinstance(one, dict) and all(isinstance(one.get(name), str) for name in ("label", "true_label")) for one in value)

    def __str__(self) -> str:
        return ""


Number = Annotated[float, _Measurable()]
Whole = Annotated[int, Range(0), _Measurable()]
Positive = Annotated[int, Range(1), _Measurable()]
Numbers = Annotated[list[Number], "a list of numbers"]
Texts = Annotated[list[str], "a list of texts"]
Versions = Annotated[dict[str, str | None], "names and texts"]
Examples = Annotated[list, "a list of objects with label and true_label", _Labelled()]
Named = Annotated[dict[str, Number], "names and numbers"]
Counts = Annotated[dict[str, Whole], "names and whole numbers"]


@dataclass(frozen=True)
class Field:
    """A field of a JSON file, or a column of a table.

    Args:
        name: of the field.
        type: an annotation, as `shattering.parameters` understands it.
        when: which runs have it; "always", or the kind of run in words.
        meaning: one sentence.
        required: whether a file without it is damaged. Fields that older versions did not write are not required.

    Example:
        >>> Field("loss", float, "networks", "Mean training loss of the last epoch, in nats.").required
        False
    """

    name: str
    type: Any
    when: str
    meaning: str
    required: bool = False


@dataclass(frozen=True)
class File:
    """A file of a run's folder: which runs have it, and what it holds.

    Example:
        >>> File("spec.json", "always", "What was asked for.").name
        'spec.json'
    """

    name: str
    when: str
    meaning: str


FILES = {
    file.name: file
    for file in (
        File(
            "spec.json",
            "any kind",
            "The specification: what the `to_json` of `RunSpec`, `StudySpec` or `PermutationsSpec` returns. Written first.",
        ),
        File("result.json", "any kind that is done", "The numbers that the run gave. Written last: a run that has it is done."),
        File("provenance.json", "any kind that is done", "When, where and with which versions the run was executed."),
        File("history.parquet", "a model that is done", "One row per epoch; no rows for models without epochs."),
        File("examples.parquet", "a network with track_examples", "One row per training example: its label, and when it was learned."),
        File("predictions.parquet", "a model on original data, no folds", "What the model predicts of each test example."),
        File("measures.parquet", "a network that was interrogated", "One row per measure: version of its code, value, reason, seconds."),
        File("examples.png", "a model on images", "The first example of each of the first ten classes, as the model was given it."),
        File("model.safetensors", "a network that is done", "The fitted weights, which `Run.model` loads."),
        File(
            "table.parquet", "a study or permutations", "The table that the study returned; or one row per permutation: seed, score, error."
        ),
        File("failed.json", "any kind that failed", "The error. A later sweep tries the run again."),
        File("checkpoint.pt", "a network that is not done", "The state of the training, from which the run resumes."),
        File("checkpoint.json", "permutations that are not done", "The scores so far, from which the run resumes."),
        File("lock", "any kind that was executed", "Held by the process that executes the run; it has no content."),
    )
}

RESULT = (
    Field("version", Positive, "since the second version", "Version of this file's format; without it the version is 1."),
    Field("dataset", str, "always", "What the model was trained on, with the variant of the data.", required=True),
    Field("n_train", Positive, "always", "Training examples.", required=True),
    Field("n_test", Positive, "always", "Test examples.", required=True),
    Field("n_classes", Positive, "always", "Classes.", required=True),
    Field("classes", Texts, "always", "Names of the classes, in the order of the labels 0…k-1."),
    Field("label_values", list, "labels that are not 0…k-1", "The labels in the user's own values, in the order of the classes."),
    Field(
        "image_shape",
        Annotated[list[Count], "a list of whole numbers"],
        "always",
        "Shape of an example: (channels, height, width), (features,), (channels, length) or (length,).",
    ),
    Field("kind", str, "inputs that are neither images nor a table", "Kind of the inputs: sequence, tokens or opaque."),
    Field("n_parameters", Whole, "models that count them", "Trainable parameters."),
    Field("train_accuracy", Share, "always", "Share of training examples whose (randomized) label is predicted.", required=True),
    Field("train_accuracy_on_true_labels", Share, "always", "Share of training examples whose true label is predicted."),
    Field(
        "train_accuracy_on_unchanged",
        Share,
        "some labels corrupted",
        "Share of the training examples with their true label whose label is predicted.",
    ),
    Field("train_accuracy_on_changed", Share, "some labels corrupted", "Share of the corrupted labels that are predicted."),
    Field("changed_as_true", Share, "some labels corrupted", "Share of the examples with a corrupted label whose true class is predicted."),
    Field("test_accuracy", Share, "always", "Share of test examples whose true label is predicted.", required=True),
    Field("test_accuracy_on_corrupted_labels", Share, "always", "The same for test labels that are randomized as the training labels are."),
    Field("train_top5_accuracy", Share, "more than 5 classes", "Share of training examples whose label is among the top five."),
    Field("test_top5_accuracy", Share, "more than 5 classes", "Share of test examples whose true label is among the top five."),
    Field("validation_accuracy", Share, "a validation split, no epochs", "Share of validation examples whose label is predicted."),
    Field("interpolated", bool, "always", "True if every training label is predicted.", required=True),
    Field("online_train_accuracy", Share, "models with epochs", "Training accuracy of the last epoch, measured while it was trained."),
    Field(
        "best_test_accuracy", Share, "models with epochs", "Best test accuracy after an epoch; chosen on the test split, so an upper bound."
    ),
    Field("best_test_epoch", Count, "models with epochs", "First epoch that had it."),
    Field("best_test_top5_accuracy", Share, "top five, with epochs", "Best top-five test accuracy after an epoch."),
    Field("best_validation_accuracy", Share, "a validation split, with epochs", "Best validation accuracy after an epoch."),
    Field("best_validation_epoch", Count, "a validation split, with epochs", "First epoch that had it."),
    Field("best_validation_top5_accuracy", Share, "top five, with a validation split", "Best top-five validation accuracy after an epoch."),
    Field("test_accuracy_at_best_validation", Share, "a validation split, with epochs", "Test accuracy after best_validation_epoch."),
    Field("epochs", Number, "models with epochs", "Epochs trained."),
    Field("epochs_to_fit", Number, "fitted networks", "First epoch after which the training split was fitted."),
    Field("diverged", bool, "always", "True if the loss became infinite or NaN."),
    Field("majority_share", Share, "always", "Share of the training labels that are the most frequent one."),
    Field("changed_fraction", Share, "always", "Share of training labels that differ from the true ones.", required=True),
    Field("changed_fraction_test", Share, "always", "Share of the randomized test labels that differ from the true ones."),
    Field("train_score", Number, "a spec with scoring", "Score on the training split; higher is better."),
    Field("test_score", Number, "a spec with scoring", "Score on the test split, against the true labels."),
    Field(
        "test_score_on_corrupted_labels",
        Number,
        "a spec with scoring",
        "Score on the test split, against randomized labels.",
    ),
    Field("skipped_corrupt", Counts, "a spec with skip_corrupt", "Encoded images left out, by split."),
    Field("notes", Texts, "networks of which something has to be known", "What has to be known of the fit, in sentences."),
    Field("examples", Examples, "always", "The first example of each of the first ten classes: id, label, true_label.", required=True),
    Field("precision", str, "networks with precision auto", "In which the network was trained: float32 or bfloat16, by a measurement."),
    Field("mean_staleness", Number, "asynchronous training", "Updates by which a gradient was late, on average."),
    Field("max_staleness", Number, "asynchronous training", "Updates by which a gradient was late, at most."),
    Field("norm", Number, "minimum-norm models", "Norm of the solution."),
    Field("norms", Numbers, "minimum-norm models", "Norm of the solution for each class."),
    Field("residual", Number, "minimum-norm models", "Relative residual of the linear system."),
    Field("converged", bool, "minimum-norm models", "True if the residual is below its tolerance."),
    Field("condition", Number, "minimum-norm models", "Estimate of the condition number of the system."),
    Field("solver", str, "minimum-norm models", "How the system was solved."),
    Field("solver_precision", str, "minimum-norm models", "Floating-point type of the solver."),
    Field("solver_steps", Whole, "minimum-norm models", "Steps of the solver."),
    Field("solver_memory", Whole, "minimum-norm models", "Bytes that the solver planned to use."),
    Field("rank", Whole, "minimum-norm models", "Numerical rank of the system, where it was computed."),
    Field("conflicts", Whole, "minimum-norm models", "Equal points with different labels, which nothing can fit."),
    Field("n_points", Whole, "ReLU interpolators", "Distinct training points."),
    Field("smallest_gap", Number, "ReLU interpolators", "Smallest distance between two projections, as a share of their range."),
    Field("smallest_eigenvalue", Number, "ReLU interpolators", "Smallest eigenvalue of the matrix of hinges."),
    Field("weight_bound", Number, "ReLU interpolators", "Bound on the largest weight."),
    Field("largest_weight", Number, "ReLU interpolators", "Largest absolute weight."),
    Field("max_error", Number, "ReLU interpolators", "Largest absolute error on the training points that were checked."),
    Field("n_checked", Whole, "ReLU interpolators", "Training points that were checked."),
    Field("exact_projections", bool, "ReLU interpolators", "True if projections are free of rounding."),
    Field("rounds", Whole, "ReLU interpolators", "Rounds of refinement."),
)
_OF_REGRESSION = (
    Field("interpolated", bool, "always", "True if every training target is predicted, up to 1e-6 of their spread.", required=True),
    Field("changed_fraction", Share, "always", "Share of training targets that differ from the true ones.", required=True),
    Field("train_score", Number, "always", "Score on the training split, R² unless the spec says otherwise.", required=True),
    Field("test_score", Number, "always", "Score on the test split, against the true targets.", required=True),
    Field("test_score_on_corrupted_labels", Number, "always", "Score on the test split, against targets randomized as in training."),
    Field("target_correlation", Number, "targets that vary", "Correlation of the training targets with the true ones."),
    Field("train_rmse", Number, "always", "Root of the mean squared error on the training split, in the unit of the targets."),
    Field("test_rmse", Number, "always", "The same on the test split, against the true targets."),
)
_SHARED = (
    *("version", "dataset", "n_train", "n_test", "image_shape", "kind", "n_parameters"),
    *("epochs", "epochs_to_fit", "diverged", "notes", "precision"),
)
REGRESSION = (*(field for field in RESULT if field.name in (*_SHARED, "skipped_corrupt")), *_OF_REGRESSION)
"""The fields of a run whose labels are numbers: it has no n_classes."""
STUDY_RESULT = (
    Field("version", Positive, "since the second version", "Version of this file's format; without it the version is 1."),
    Field("data", str, "always", "What the study was computed on. All other fields are the study's own.", required=True),
)
PROVENANCE = (
    Field("versions", Versions, "always", "Versions of Python and of the libraries; null for one that is not installed.", required=True),
    Field("platform", str, "always", "Operating system and architecture."),
    Field("processor", str, "always", "Model of the processor.", required=True),
    Field("cores", Natural, "always", "Cores of the machine."),
    Field("threads", Number, "always", "Threads that torch used.", required=True),
    Field("device", str, "always", "cpu, or the name of the GPU.", required=True),
    Field("git_revision", str, "run from a checkout", "Revision of the code; + if it was changed since."),
    Field("started", str, "always", "Time in UTC at which the last attempt began (ISO 8601).", required=True),
    Field("seconds", Number, "always", "Duration of the last attempt.", required=True),
)
MODEL_PROVENANCE = (
    Field("dataset_fingerprint", str, "models", "Digest of the data before they were randomized.", required=True),
    Field("epoch_seconds", Numbers, "models", "Duration of each epoch; empty for models without epochs.", required=True),
    Field("fit_seconds", Number, "models", "Duration of fitting alone, with the epochs of earlier attempts."),
    Field("resumed", bool, "models", "True if the last attempt began from a checkpoint."),
    Field("timings", Named, "models that time their steps", "Seconds of each step of the fit."),
    Field("processes", Number, "torchrun", "Processes that trained the network together."),
)
FAILED = (
    Field("error", str, "always", "The exception in one line.", required=True),
    Field("traceback", str, "errors of the model's code", "The traceback; the middle of a long one is left out."),
)

_EPOCHS = (
    Field("epoch", Number, "models with epochs", "Number of the epoch, from 1.", required=True),
    Field("step", Number, "models with epochs", "Updates of the parameters so far.", required=True),
    Field("train_loss", Number, "models with epochs", "Mean training loss over the epoch, while it was trained.", required=True),
    Field("train_accuracy", Number, "models with epochs", "Training accuracy over the epoch, while it was trained.", required=True),
    Field("test_accuracy", Number, "models with epochs", "Test accuracy after the epoch.", required=True),
)
EPOCHS_OF_REGRESSION = (
    *(field for field in _EPOCHS if not field.name.endswith("accuracy")),
    Field("train_r2", Number, "networks for numbers", "R² on the training split over the epoch, while it was trained.", required=True),
    Field("test_r2", Number, "networks for numbers", "R² on the test split after the epoch.", required=True),
)
"""The columns of the history of a run whose labels are numbers."""
_EXAMPLES = (
    Field("id", Any, "always", "Number of the example in its split.", required=True),
    Field("label", Any, "always", "Label that the model was given.", required=True),
    Field("true_label", Any, "always", "Label before randomization.", required=True),
    Field("changed", Any, "always", "True if the two differ.", required=True),
    Field("final_prediction", Any, "always", "Label predicted at the end.", required=True),
    Field("mean_loss", Number, "always", "Mean loss of the example over the epochs.", required=True),
    Field("forgetting_events", Number, "always", "Epochs after which the example was no longer predicted correctly.", required=True),
)
_PREDICTIONS = (
    Field("id", Number, "original data, no folds", "Number of the example in its source.", required=True),
    Field(
        "prediction", Number, "original data, no folds", "Number of the class that is predicted, or the predicted target.", required=True
    ),
)
TABLES: dict[str, tuple[Field, ...]] = {"history": _EPOCHS, "examples": _EXAMPLES, "predictions": _PREDICTIONS, "table": ()}


def to_markdown(fields: Iterable[Field]) -> str:
    """Return a table of fields for the docs."""
    rows = [f"| `{f.name}` | {_words(f)} | {f.when} | {f.meaning} |" for f in fields]
    return "\n".join(["| field | type | which runs | meaning |", "|---|---|---|---|", *rows])


def _words(field: Field) -> str:
    words = "a value" if field.type is Any else describe(field.type)
    return words + ("" if field.required else ", or none")


def files_to_markdown() -> str:
    """Return the table of files for the docs."""
    rows = [f"| `{file.name}` | {file.when} | {file.meaning} |" for file in FILES.values()]
    return "\n".join(["| file | a run of | content |", "|---|---|---|", *rows])
