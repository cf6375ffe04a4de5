"""A test's numbers in plain sentences. Each sentence has a threshold, named here and tested."""

from collections.abc import Iterator
from statistics import fmean

from shattering.compare.plan import FEATURE_TEST, LABEL_TEST, RANDOMIZATIONS
from shattering.compare.result import PermutationTest, RandomizationTest

FITS = 0.99  # mean training accuracy from which a randomization counts as fitted (the papers fit exactly)
PARTLY = 0.1  # of the way from chance to 1, from which it counts as partly memorized
LEVEL = 0.05  # of a p-value
SIMILAR_TIME = 1.5  # ratio up to which fitting noise takes "about as long"
SMALL_FACTOR = 5.0  # ratio up to which it takes "a small factor" longer (ICLR 2017, section 2.2)
FINDS = 2.0  # times the precision by chance, from which the ranking by loss is said to find wrong labels
PIXEL_NOISE = ("shuffled-pixels", "random-pixels", "gaussian-pixels")


def sentences(test: RandomizationTest) -> list[str]:
    """What a test says, most important first."""
    first = [*_learning(test), *_repeats(test), *_capacity(test), *_time(test)]
    return [*first, *_features(test), *_wrong_labels(test), *_pixels(test), *_incomplete(test)]


def _number(test: RandomizationTest, value: float) -> str:
    return f"{value:.1%}" if test.scoring == "accuracy" else f"{value:.4g}"


def _p(tested: PermutationTest) -> str:
    at = ", the least that so many draws can show" if tested.n_as_good == 0 else ""
    at += f", counting the {tested.n_failed} without a score" if tested.n_failed else ""
    draws = "draw" if tested.n_draws == 1 else "draws"
    return f"p = {tested.p_value:.3g}: {tested.n_as_good} of {tested.n_draws} {draws} did as well{at}"


def _learning(test: RandomizationTest) -> Iterator[str]:
    tested = test.tests.get(LABEL_TEST)
    if tested is None:
        return
    mean = fmean(tested.null_scores)
    scores = f"test {test.scoring} {_number(test, tested.score)}, against {_number(test, mean)} where labels are permuted"
    unjudged = f"Whether it learns is not judged: with so few draws p cannot be {LEVEL} or less"
    yield _verdict(tested, scores, "learns from the labels", unjudged)


def _repeats(test: RandomizationTest) -> Iterator[str]:
    if test.repeats and any(test.of(r) for r in (LABEL_TEST, FEATURE_TEST)):
        yield str(test.repeats)


def _verdict(tested: PermutationTest, scores: str, what: str, unjudged: str) -> str:
    """What a permutation test says of the claim that the model does `what`."""
    if tested.floor > LEVEL:
        return f"{unjudged} ({scores}; {_p(tested)})."
    return f"{'It' if tested.p_value <= LEVEL else 'Nothing shows that it'} {what}: {scores} ({_p(tested)})."


def memorized(test: RandomizationTest) -> tuple[float, float] | None:
    """(mean training accuracy on labels that have nothing to do with the features, accuracy of the best constant answer)."""
    for r in (LABEL_TEST, RANDOMIZATIONS["random-labels"]):
        draws = test.of(r)
        if draws:
            accuracies = [draw.mean("train_accuracy") for draw in draws]
            return fmean(accuracies), draws[0].mean("majority_share") or 1 / draws[0].runs[0].result["n_classes"]  # type: ignore[arg-type]
    return None


def _capacity(test: RandomizationTest) -> Iterator[str]:
    found = memorized(test)
    if found is None:
        return
    accuracy, chance = found
    share = (accuracy - chance) / (1 - chance)
    n = f"{test.n_train:,} training examples"
    noise = f"{accuracy:.1%} training accuracy on labels that have nothing to do with the features"
    if accuracy >= FITS:
        yield (
            f"It can memorize all {n}: {noise}. So its training accuracy says nothing about what it has learned, and its "
            "capacity does not explain why it generalizes."
        )
    else:
        what = f"It memorizes part of the {n}" if share >= PARTLY else "It hardly memorizes"
        yield f"{what}: {noise} (a constant answer: {chance:.1%})."


def _time(test: RandomizationTest) -> Iterator[str]:
    row = next((row for row in test.rows if row["randomization"] == LABEL_TEST.title), None)
    if row is None or row["time_in"] != "epochs" or not all(draw.interpolated for draw in test.of(LABEL_TEST)):
        return
    ratio = row["time_ratio"]
    epochs = f"{row['epochs_to_fit']:.4g} epochs against {test.original.mean('epochs_to_fit'):.4g}"
    if ratio <= SIMILAR_TIME:
        yield f"Fitting permuted labels takes about as long as the true ones: {epochs} ({ratio:.2g} times)."
    elif ratio <= SMALL_FACTOR:
        yield f"Fitting permuted labels takes a small factor longer: {epochs} ({ratio:.2g} times)."
    else:
        yield f"Fitting permuted labels takes much longer: {epochs} ({ratio:.3g} times)."


def _features(test: RandomizationTest) -> Iterator[str]:
    tested = test.tests.get(FEATURE_TEST)
    if tested is None or (LABEL_TEST in test.tests and test.tests[LABEL_TEST].p_value > LEVEL):
        return
    mean = fmean(tested.null_scores)
    scores = f"{_number(test, tested.score)}, against {_number(test, mean)} where each feature is permuted within its class"
    unjudged = "Whether it uses how features go together is not judged: too few draws"
    yield _verdict(tested, scores, "uses how features go together within a class", unjudged)


def _wrong_labels(test: RandomizationTest) -> Iterator[str]:
    for m in test.memorization:
        what = f"{m.changed:.0%} wrong labels"
        if m.memorized >= FITS:
            yield f"Of {what} it memorizes all ({m.memorized:.1%})."
        elif m.memorized > m.as_true:
            yield f"Of {what} it memorizes {m.memorized:.1%}, and predicts the true class of {m.as_true:.1%}."
        else:
            yield f"It sees through {m.as_true:.1%} of {what}, predicting their true class, and memorizes {m.memorized:.1%}."
        if m.start and m.peak and m.start.epoch > m.peak.epoch:
            yield (
                f"Memorization starts at epoch {m.start.epoch}, with {m.start.clean_accuracy:.1%} of the clean examples fitted; at epoch "
                f"{m.peak.epoch} it saw through {m.peak.corrupted_as_true:.1%} of the wrong labels."
            )
        if m.precision is not None and m.precision >= FINDS * m.changed:
            yield (
                f"Its mean loss finds wrong labels: as many as were planted, taken from the top of the ranking, are {m.precision:.0%} "
                f"wrong ({m.changed:.0%} by chance)."
            )


def _pixels(test: RandomizationTest) -> Iterator[str]:
    fitted, unfitted = [], []
    for name in PIXEL_NOISE:
        r = RANDOMIZATIONS[name]
        accuracies = [draw.mean("train_accuracy") for draw in test.of(r)]
        if accuracies:
            mean = fmean(accuracies)  # type: ignore[arg-type]
            (fitted if mean >= FITS else unfitted).append(f"{r.title} {100 * mean:.2f}%")
    original = test.original.mean("train_accuracy")
    if fitted:
        yield f"It fits inputs without their structure (training accuracy: {', '.join(fitted)})."
    if unfitted and original is not None:
        yield f"It does not fit {', '.join(unfitted)} (training accuracy; {100 * original:.2f}% on the original inputs)."


def _incomplete(test: RandomizationTest) -> Iterator[str]:
    failed = [draw for draw in test.draws if draw.status == "failed"]
    if failed:
        error = next(run.error for draw in failed for run in draw.runs if run.error)
        yield f"{len(failed)} of {len(test.draws)} draws FAILED; the first: {error}"
    rest = sum(draw.status not in ("done", "failed") for draw in test.draws)
    if rest:
        yield f"{rest} of {len(test.draws)} draws were not made; every number says how many it is from."
    yield from test.left_out
    yield from test.notes
