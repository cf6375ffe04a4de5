"""Find out why a run did not fit random labels, by a checklist computed from the run. Each rule has a threshold, named and tested."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from scipy.stats import binom
from sklearn.base import BaseEstimator

from shattering.data.split import Split
from shattering.diagnose.estimators import limits
from shattering.diagnose.finding import LIKELIHOODS, Finding, most_likely_first
from shattering.diagnose.network import network_findings
from shattering.learners.network import NetworkClassifier
from shattering.learners.wrapped import TrainingFunction, Wrapped
from shattering.parameters import check
from shattering.report.answer import FITS
from shattering.runs.fit import load_data
from shattering.runs.objects import Objects
from shattering.runs.stored import Run
from shattering.system.progress import QUICK, Progress

TRUE_RATHER = 0.2  # agreement with the true labels minus that with the given ones, from which a model is said to know them
_BLOCK = 256  # images that are hashed at a time
CHANCE = {"certain": 0.001, "likely": 0.05, "possible": 1.0}  # the largest probability that this is chance


def diagnose(run: Run, objects: Objects | None = None, others: Sequence[Run] = (), progress: bool | None = None) -> list[Finding]:
    """Find out why a run on random labels did not fit them.

    A rule reports only what it finds in this run's parameters, data, history or weights; see docs/diagnosis.md.

    Args:
        run: on permuted or random labels.
        objects: the objects that its spec names.
        others: runs of the same model on other permutations of the labels, which tell chance from knowledge of the true labels.
        progress: see `shattering.system.progress`; shown after a second.

    Returns:
        The findings, the likeliest first; empty if the run fits its labels, or is not done.

    Example:
        >>> for finding in diagnose(test.of("permuted-labels")[0].runs[0]):
        ...     print(finding.cause)
        n_neighbors of KNeighborsClassifier
    """
    if run.status != "done" or run.result["train_accuracy"] >= FITS:
        return []
    check("progress", progress, bool | None)
    findings: list[Finding] = []
    with Progress("checks", 3, progress, after=QUICK) as shown:
        shown.update(0, "load the data")
        model, train = run.spec.build(objects), load_data(run.spec, objects)[0].train
        shown.update(1, "inputs that occur twice")
        findings += [*duplicates(train, run.result["train_accuracy"]), *_labels_not_used(run, model, others), *too_small(run.result)]
        shown.update(2, "the model and its training")
        findings += network_findings(run, train, objects) if isinstance(model, NetworkClassifier) else limits(model, run.result)
    return most_likely_first(findings)


def duplicates(train: Split, accuracy: float) -> Iterator[Finding]:
    """Report identical inputs with different labels: any function of the inputs gets at most the most frequent of them right."""
    bound, n_disagreeing = accuracy_bound(train)
    if bound >= FITS:
        return
    evidence = (
        f"{n_disagreeing:,} of {len(train):,} training examples have the same input as an example with another label, so no function "
        f"of the inputs can exceed a training accuracy of {bound:.2%}; the model reached {accuracy:.2%}."
    )
    yield Finding("identical inputs with different labels", evidence, "Remove repeated inputs from the data.", "certain")


def accuracy_bound(train: Split) -> tuple[float, int]:
    """Return the highest training accuracy of any function of the inputs, and how many examples share an input with another label."""
    groups: dict[bytes, Counter] = defaultdict(Counter)
    for key, label in zip(train.row_keys(_BLOCK), train.labels.tolist(), strict=True):
        groups[key][label] += 1
    best = sum(max(group.values()) for group in groups.values())
    return best / len(train), sum(group.total() for group in groups.values() if len(group) > 1)


def too_small(result: dict) -> Iterator[Finding]:
    """Report fewer parameters than examples, or fewer than are known to suffice."""
    p, n, d = result["n_parameters"], result["n_train"], math.prod(result["image_shape"])
    if p is None or p >= 2 * n + d:
        return
    suffices = (
        f"A two-layer ReLU network that fits any labels exists with 2n + d = {2 * n + d:,} (Zhang et al. 2017, theorem 1; "
        "whether training finds it is another question)."
    )
    fewer = f"The model has {p:,} parameters for n = {n:,} examples."
    yield Finding("too few parameters", f"{fewer} {suffices}", "Make the network wider.", "likely" if p < n else "possible")


def _labels_not_used(run: Run, model: BaseEstimator, others: Sequence[Run]) -> Iterator[Finding]:
    """Report a model that knows the true labels of randomized data, or that learns nothing from the labels it is given."""
    result, k = run.result, run.result["n_classes"]
    accuracy, true = result["train_accuracy"], result["train_accuracy_on_true_labels"]
    if run.spec.randomization.labels == 1 and true >= accuracy + TRUE_RATHER:
        p = chance_of_true([r.result["train_accuracy_on_true_labels"] for r in (run, *others)], k)
        evidence = (
            f"Its predictions for the training examples agree with {true:.1%} of the true labels, but only with {accuracy:.1%} of the "
            f"labels it was given. A model that groups the examples by class and names the groups at random does as well with "
            f"probability {p:.2g}."
        )
        remedy = "Find out where the model gets other labels from: a file of its own, a cache, or pretrained weights."
        likelihood = next(name for name in LIKELIHOODS if p <= CHANCE[name])
        yield Finding("the model uses other labels than those it was given", evidence, remedy, likelihood)
    elif not _ours(model) and accuracy <= (share := result["majority_share"]) + 2 * math.sqrt(share * (1 - share) / result["n_train"]):
        evidence = f"Training accuracy on the given labels is {accuracy:.1%}; a constant answer has {share:.1%}."
        remedy = "Check that labels are generated once, stay with their inputs when these are shuffled, and reach the loss."
        yield Finding("nothing was learned from the labels", evidence, remedy, "possible")


def chance_of_true(agreements: Sequence[float], k: int) -> float:
    """Return the probability that random names for k classes agree with the true labels as much, in every run.

    A model that only groups the examples by class, and names each group by its random labels, gets each name right with
    probability 1/k.

    Args:
        agreements: fractions of the true labels that are predicted, in 0…1, one per run.
        k: the number of classes.
    """
    right = math.floor(k * min(agreements) + 0.5)
    return float(binom.sf(right - 1, k, 1 / k)) ** len(agreements)


def _ours(model: BaseEstimator) -> bool:
    """Return True if labels are known to reach the fit: the model is scikit-learn's or of this package."""
    return type(model).__module__.split(".")[0] in ("sklearn", "shattering") and not isinstance(model, (TrainingFunction, Wrapped))
