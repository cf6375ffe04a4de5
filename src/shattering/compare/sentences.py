"""A test's numbers in plain sentences. Each sentence has a threshold, named here and tested."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from shattering.compare.comparison import Comparison
from shattering.compare.head import count, show
from shattering.compare.memorization import Memorization, judge
from shattering.compare.permutation import PermutationTest
from shattering.compare.plan import FEATURE_TEST, LABEL_TEST, RANDOMIZATIONS, null_of
from shattering.errors import counted
from shattering.report.answer import FITS
from shattering.runs.stored import UNREADABLE
from shattering.stats import percent

LEVEL = 0.05  # of a p-value
UNEVEN = 0.9  # share of the largest fold below which the smallest is told
SIMILAR_TIME = 1.5  # ratio up to which fitting noise takes "about as long"
SMALL_FACTOR = 5.0  # ratio up to which it takes "a small factor" longer (ICLR 2017, section 2.2)
FINDS = 2.0  # the ranking by mean loss "finds wrong labels" from this multiple of the precision by chance
DESTROYED = {"shuffled-pixels": "shuffled", "random-pixels": "random", "gaussian-pixels": "Gaussian"}


def summarize(test: Comparison, rows: Sequence[dict], memorizations: Sequence[Memorization]) -> list[str]:
    """Return the summary, the most important sentence first.

    Args:
        test: the fits.
        rows: of its table, see `shattering.compare.table.make_rows`.
        memorizations: one per partial corruption of the labels.

    Example:
        >>> summarize(test, test.rows, test.memorization) == test.summary
        True
    """
    return [
        *_constant(test),
        *_learning(test),
        *_fold_sizes(test),
        *_duplicates(test),
        *_shared_groups(test),
        *_capacity(test),
        *_time(test, rows),
        *_features(test),
        *_wrong_labels(test, memorizations),
        *_destroyed_inputs(test),
        *_incomplete(test),
    ]


def cautions(test: Comparison) -> list[str]:
    """Return the sentences of the summary that qualify the answer: what is wrong with the data, and what was not run.

    Example:
        >>> cautions(test)
        []
    """
    return [*_constant(test), *_fold_sizes(test), *_duplicates(test), *_shared_groups(test), *_incomplete(test)]


def _constant(test: Comparison) -> Iterator[str]:
    """Say so if the original fit is no better than the best answer that does not depend on the inputs."""
    score, constant = test.original.test_score, test.best_constant
    if constant is None and test.scoring == "accuracy":
        constant = test.original.mean("majority_share")
    if score is not None and constant is not None and score <= constant:
        yield (
            f"On the original data it is no better than a constant answer: test {test.scoring} {show(test, score)}, and "
            f"{show(test, constant)} for the best constant answer."
        )


def _fold_sizes(test: Comparison) -> Iterator[str]:
    """Say so if folds train on numbers of examples that differ by more than rounding, as those of a time series do."""
    fewest, most = min(test.fold_sizes), max(test.fold_sizes)
    if fewest < UNEVEN * most:
        yield f"The folds train on {fewest:,} to {most:,} examples, and n is that of the largest; scores are means over folds."


def _learning(test: Comparison) -> Iterator[str]:
    tested = test.label_test
    if tested is None:
        return
    nulls = show(test, fmean(tested.null_scores))
    scores = f"test {test.scoring} {show(test, tested.score)}, against {nulls} where training and test {test.label_word} are permuted"
    if not tested.has_verdict:
        yield (
            f"No verdict on whether it learns: {test.label_word} permuted {tested.permuted} give "
            f"{count(tested.admissible, f'different {test.label_word[:-1]} vector')}, expected at least 20: {scores} ({_p(tested)})."
        )
    elif tested.floor > LEVEL and tested.p_value > LEVEL and not (tested.sequential and tested.sequential.stopped):
        yield f"Too few refits to judge by them whether it learns (p cannot be {LEVEL} or less): {scores} ({_p(tested)})."
    elif tested.p_value <= LEVEL:
        other = test.zero_refit is not None and test.zero_refit.has_verdict and test.zero_refit.p_value > LEVEL
        yield f"{'By refits it' if other else 'It'} learns from the {test.label_word}: {scores} ({_p(tested)})."
    else:
        by = " by refits" if test.zero_refit and test.zero_refit.p_value <= LEVEL else ""
        yield f"No evidence{by} that it learns from the {test.label_word}: {scores} ({_p(tested)})."


def _p(tested: PermutationTest) -> str:
    n, p = tested.n_permutations, f"p = {tested.p_value:.3g}"
    permutations = counted(n, "permutation")
    if tested.sequential and tested.sequential.stopped:
        return f"{p}: stopped at the permutation that made {tested.n_as_good} of {n} as good, {tested.formula}"
    if not tested.n_as_good:
        return f"{p}, the smallest possible: none of {permutations} scored as high"
    failed = f", counting the {tested.n_failed} without a score" if tested.n_failed else ""
    return f"{p}: {tested.n_as_good} of {permutations} scored at least as high{failed}"


def _duplicates(test: Comparison) -> Iterator[str]:
    if test.duplicates and any(test.of(r) for r in (LABEL_TEST, FEATURE_TEST)):
        yield str(test.duplicates)


def _shared_groups(test: Comparison) -> Iterator[str]:
    if test.shared_groups:
        yield test.shared_groups


def _capacity(test: Comparison) -> Iterator[str]:
    accuracy = test.random_label_accuracy
    if accuracy is None:
        return
    extent, constant, of = judge(test, accuracy)
    n = f"{test.n_train:,} training examples"
    labels = f"{test.label_word} that are independent of the features" if test.are_labels_independent else f"permuted {test.label_word}"
    fits = f"{percent(accuracy)} training accuracy on {labels}"
    if extent in ("all", "nearly all"):
        yield (
            f"It can memorize {extent} {n}: {fits}. So its training accuracy says nothing about what it "
            "has learned, and its capacity does not explain why it generalizes."
        )
    else:
        what = {"part": f"It memorizes part of the {n}", "hardly": "It hardly memorizes"}.get(
            extent, "It is not judged how much it memorizes"
        )
        yield f"{what}: {fits} ({of}: {percent(constant)})."


def _time(test: Comparison, rows: Sequence[dict]) -> Iterator[str]:
    titles = {test.title(r) for r in test.randomizations if null_of(r) and r.labels}
    row = next((row for row in rows if row["randomization"] in titles), None)
    if row is None or row["time_in"] != "epochs" or not all(repeat.interpolated for repeat in test.of(LABEL_TEST)):
        return
    ratio = row["time_ratio"]
    epochs = f"{row['epochs_to_fit']:.4g} epochs against {test.original.mean('epochs_to_fit'):.4g}"
    if ratio <= SIMILAR_TIME:
        yield f"Fitting permuted {test.label_word} takes about as long as fitting the original ones: {epochs} ({ratio:.2g} times)."
    elif ratio <= SMALL_FACTOR:
        yield f"Fitting permuted {test.label_word} takes a small factor longer: {epochs} ({ratio:.2g} times)."
    else:
        yield f"Fitting permuted {test.label_word} takes much longer: {epochs} ({ratio:.3g} times)."


def _features(test: Comparison) -> Iterator[str]:
    tested = test.tests.get(FEATURE_TEST)
    if tested is None or (test.label_test is not None and test.label_test.p_value > LEVEL):
        return
    nulls = show(test, fmean(tested.null_scores))
    scores = f"{show(test, tested.score)}, against {nulls} where each feature is permuted within its class"
    relies = "it relies on interactions between features within a class"
    if tested.floor > LEVEL and tested.p_value > LEVEL and not (tested.sequential and tested.sequential.stopped):
        yield f"Too few permutations to judge whether {relies}: {scores} ({_p(tested)})."
    elif tested.p_value <= LEVEL:
        yield f"{relies.capitalize()}: {scores} ({_p(tested)})."
    else:
        yield f"No evidence that {relies}: {scores} ({_p(tested)})."


def _wrong_labels(test: Comparison, memorizations: Sequence[Memorization]) -> Iterator[str]:
    for m in memorizations:
        noise = f"With {100 * m.randomization.labels:.4g}% label noise it"
        constant = test.original.mean("majority_share")
        baseline = ""
        if constant is not None and m.randomization.label_mode != "permute":  # where every class is as likely to get a wrong label
            baseline = f" (a constant answer: about {percent(constant)})"
        reproduced = f"{percent(m.memorized)} of the wrong labels"
        if m.memorized == 1:
            yield f"{noise} reproduces every wrong label."
        elif m.memorized >= FITS:
            yield f"{noise} reproduces {reproduced}."
        elif m.memorized > m.as_true:
            yield f"{noise} reproduces {reproduced}, and predicts the true class of {percent(m.as_true)}{baseline}."
        else:
            true = f"the true class of {percent(m.as_true)} of the wrong labels"
            yield f"{noise} predicts {true}{baseline}, and reproduces {percent(m.memorized)}."
        yield from _when_memorized(m)


def _when_memorized(m: Memorization) -> Iterator[str]:
    if m.start and m.peak and m.start.epoch > m.peak.epoch:
        yield (
            f"Memorization starts at epoch {m.start.epoch}, with {percent(m.start.clean_accuracy)} of the clean examples fitted; at epoch "
            f"{m.peak.epoch} it predicted the true class of {percent(m.peak.corrupted_as_true)} of the wrong labels."
        )
    if m.precision is not None and m.precision >= FINDS * m.corrupted:
        yield (
            f"Ranking the examples by mean loss finds wrong labels: of as many from its top as there are wrong labels, {m.precision:.0%} "
            f"are wrong ({m.corrupted:.0%} by chance)."
        )


def _destroyed_inputs(test: Comparison) -> Iterator[str]:
    accuracies = {word: _train_accuracy(test, name) for name, word in DESTROYED.items()}
    known = {word: accuracy for word, accuracy in accuracies.items() if accuracy is not None}
    original = test.original.mean("train_accuracy")
    fitted = {word: accuracy for word, accuracy in known.items() if accuracy >= FITS}
    if fitted:
        yield f"It also fits destroyed inputs: {_listed(test, fitted)}."
    if original is None:
        return
    no_worse = {word: accuracy for word, accuracy in known.items() if original <= accuracy < FITS}
    if no_worse:
        yield f"It fits destroyed inputs no worse than the original ones ({percent(original)}): {_listed(test, no_worse)}."
    worse = {word: accuracy for word, accuracy in known.items() if accuracy < min(original, FITS)}
    if worse:
        yield f"It fits destroyed inputs worse than the original ones ({percent(original)}): {_listed(test, worse)}."


def _train_accuracy(test: Comparison, name: str) -> float | None:
    values = [repeat.mean("train_accuracy") for repeat in test.of(RANDOMIZATIONS[name])]
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _listed(test: Comparison, accuracies: dict[str, float]) -> str:
    """List training accuracies, with equal ones in one phrase: "100.0% training accuracy on shuffled and random pixels"."""
    by_text: dict[str, list[str]] = {}
    for word, accuracy in accuracies.items():
        by_text.setdefault(percent(accuracy), []).append(word)
    parts = [f"{text} training accuracy on {_and(words)} {test.parts}" for text, words in by_text.items()]
    return ", ".join(parts)


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _incomplete(test: Comparison) -> Iterator[str]:
    planned = [*test.repeats, *test.batched]
    failed = [one for one in planned if one.status == "failed"]
    if failed:
        error = next(one.error for one in failed if one.error)
        yield f"{len(failed)} of {len(planned)} repeats FAILED; the first: {error}"
    if unread := [one for one in planned if one.status in UNREADABLE]:
        yield f"{len(unread)} of {len(planned)} repeats CANNOT BE READ; the first: {unread[0].error}"
    decided = {r for r, tested in test.tests.items() if tested.sequential and tested.sequential.stopped}
    rest = sum(one.status not in ("done", "failed", *UNREADABLE) and one.randomization not in decided for one in planned)
    if rest:
        yield f"{rest} of {len(planned)} repeats were not run; the table says how many each number is from."
    yield from test.left_out
    yield from test.notes
