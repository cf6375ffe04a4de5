"""The randomizations that a test compares, the number of repeats of each, and the specifications of their runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

from shattering import seeds
from shattering.data.kinds import Kind
from shattering.data.lazy import ImagesOnDisk
from shattering.data.rows import Rows
from shattering.data.split import Split
from shattering.errors import InputError, shown, unknown
from shattering.parameters import Count, check
from shattering.randomization import Randomization
from shattering.runs.base import Spec
from shattering.runs.permutations import PermutationsSpec
from shattering.runs.spec import RunSpec

RANDOMIZATIONS: dict[str, Randomization] = {
    "permuted-labels": Randomization(labels=1, label_mode="permute"),
    "random-labels": Randomization(labels=1),
    "corrupted-labels": Randomization(labels=0.2, label_mode="flip"),
    "shuffled-pixels": Randomization(pixels="shuffled"),
    "random-pixels": Randomization(pixels="random"),
    "gaussian-pixels": Randomization(pixels="gaussian"),
    "within-class": Randomization(pixels="within-class"),
    "permuted-features": Randomization(pixels="columns"),
    "shifted-sequences": Randomization(pixels="shifted"),
    "uniform-tokens": Randomization(pixels="uniform"),
    "unigram-tokens": Randomization(pixels="unigram"),
}
ORIGINAL = Randomization()
LABEL_TEST = RANDOMIZATIONS["permuted-labels"]
FEATURE_TEST = RANDOMIZATIONS["within-class"]
TESTS = {LABEL_TEST: "labels do not depend on the features", FEATURE_TEST: "within a class, features do not depend on each other"}
DEFAULT: dict[Kind, tuple[str, ...]] = {
    "images": ("permuted-labels", "corrupted-labels", "shuffled-pixels", "random-pixels", "gaussian-pixels", "within-class"),
    "table": ("permuted-labels", "corrupted-labels", "gaussian-pixels", "within-class"),
    "sequence": ("permuted-labels", "corrupted-labels", "shuffled-pixels", "random-pixels", "shifted-sequences", "gaussian-pixels"),
    "tokens": ("permuted-labels", "corrupted-labels", "random-pixels", "unigram-tokens"),
    "opaque": ("permuted-labels", "corrupted-labels"),
}
FEW = 3  # repeats of a randomization without a test; permutations that are stored runs where the rest are batches
BATCH = 25  # permutations that are stored together
Numbered = tuple[Randomization, tuple[int, ...]]  # a randomization, and the numbers of its repeats that are run together


def without_exchange(r: Randomization) -> Randomization:
    """Return a randomization whose labels are exchanged freely."""
    return replace(r, exchange="free")


def null_of(r: Randomization) -> str | None:
    """Return the null hypothesis that permutations of this kind test, in words; None for a randomization that tests none."""
    return TESTS.get(without_exchange(r))


def exchanged(r: Randomization, exchange: str) -> Randomization:
    """Return a randomization with its labels exchanged in this way, if it permutes all of them and does not say how itself.

    exchange: one of `shattering.data.exchange.EXCHANGES`, or the name of a function.
    """
    is_plain = r.label_mode == "permute" and r.labels == 1 and r.exchange == "free"
    return replace(r, exchange=exchange) if is_plain else r


def exchanged_all(counts: Mapping[Randomization, int], exchange: str) -> dict[Randomization, int]:
    """Return randomizations, with their numbers of repeats, whose labels are exchanged in this way; see `exchanged`.

    Raises:
        InputError: for one that says another exchange itself, as a test has one, and for two that become the same.
    """
    out: dict[Randomization, int] = {}
    for r, n in counts.items():
        if r.label_mode == "permute" and r.labels == 1 and r.exchange not in ("free", exchange):
            raise InputError(f"randomizations has labels exchanged by {r.exchange!r} in a test with exchange {exchange!r}, expected one")
        r = exchanged(r, exchange)
        if r in out:
            raise InputError(f"randomizations has {r.title!r} twice, expected each once")
        out[r] = n
    return out


def default_randomizations(split: Split) -> list[str]:
    """Return the names of the randomizations that make sense for inputs and labels of this kind, and are compared by default."""
    names = list(DEFAULT[split.kind])
    if split.is_regression:
        names = [name for name in names if name not in ("corrupted-labels", "within-class")]
        names += ["permuted-features"] if split.kind == "table" else []
    if isinstance(split.inputs, Rows) and not split.inputs.is_numbers:
        names = [name for name in names if name != "gaussian-pixels"]
    if isinstance(split.inputs, ImagesOnDisk):
        names.remove("within-class")  # it permutes among all images of a class
    return names


def find_randomizations(names: Sequence[str | Randomization] | None, split: Split | None = None) -> list[Randomization]:
    """Return randomizations by their names; None: the default ones, for a split like the given one.

    Raises:
        InputError: for an unknown name, an empty list, one that is listed twice, and one that randomizes nothing.
    """
    if names is None and split is not None:
        names = default_randomizations(split)
    elif not isinstance(names, (list, tuple, set, frozenset)) or not names:
        raise InputError(f"randomizations is {shown(names)}, expected a list of at least one")
    randomizations: list[Randomization] = []
    for name in names:
        if not isinstance(name, (str, Randomization)):
            raise InputError(f"randomizations has {shown(name)}, expected names and instances of Randomization")
        if isinstance(name, str) and name not in RANDOMIZATIONS:
            raise unknown("randomization", name, RANDOMIZATIONS)
        randomization = RANDOMIZATIONS[name] if isinstance(name, str) else name
        if randomization == ORIGINAL:
            raise InputError("randomizations has one that randomizes nothing; the original data are always there")
        if randomization in randomizations:
            raise InputError(f"randomizations has {name if isinstance(name, str) else name.title!r} twice, expected each once")
        randomizations.append(randomization)
    return randomizations


@dataclass(frozen=True)
class Plan:
    """The runs of a test.

    Args:
        original: the specification of the original fit; with folds, of its first fold.
        repeats: the number of repeats of each randomization.
        batched: True if permutations beyond the first `FEW` are stored together, `BATCH` at a time.
    """

    original: RunSpec
    repeats: Mapping[Randomization, int]
    batched: bool = False

    @cached_property
    def seeds(self) -> Mapping[Randomization, Sequence[int]]:
        """The seeds of the repeats of each randomization; the original fit has the test's."""
        seeds = {r: repeat_seeds(self.original.seed, r, n) for r, n in self.repeats.items()}
        return {**seeds, ORIGINAL: [self.original.seed]}

    def fits(self, randomization: Randomization, number: int) -> list[RunSpec]:
        """Return the specifications of a repeat: one, or one per fold."""
        base, seed = self.original, self.seeds[randomization][number]
        spec = replace(base, randomization=randomization, seed=seed, data_seed=base.resolved_data_seed)
        return [spec] if base.folds is None else [replace(spec, fold=fold) for fold in range(base.folds)]

    def order(self) -> list[Numbered]:
        """Return the repeats in the order in which they are run: the original fit, one of each randomization, then all evenly.

        Whenever this is cut short, every randomization has had about the same share of its repeats.
        """
        shares = []
        for place, (r, n) in enumerate(self.repeats.items()):
            shares += [((numbers[0] > 0, numbers[0] / n, place), (r, numbers)) for numbers in self._together(r, n)]
        return [(ORIGINAL, (0,)), *(numbered for _, numbered in sorted(shares, key=lambda entry: entry[0]))]

    def _together(self, r: Randomization, n: int) -> list[tuple[int, ...]]:
        """Return the numbers of the repeats of a randomization, those that are run together in one tuple."""
        alone = n if not self.batched or null_of(r) is None else min(n, FEW)
        batches = [tuple(range(start, min(start + BATCH, n))) for start in range(alone, n, BATCH)]
        return [*((number,) for number in range(alone)), *batches]

    def specs(self, numbered: Numbered) -> Sequence[Spec]:
        """Return the specifications of repeats that are run together: those of one repeat, or one of a batch."""
        r, numbers = numbered
        return self.fits(r, numbers[0]) if self.is_alone(numbered) else [self.batch(r, numbers)]

    def is_alone(self, numbered: Numbered) -> bool:
        """Return whether this is one repeat whose fits are stored runs; a batch may have one permutation, too."""
        r, numbers = numbered
        return len(numbers) == 1 and (not self.batched or null_of(r) is None or numbers[0] < FEW)

    def batch(self, randomization: Randomization, numbers: Sequence[int]) -> PermutationsSpec:
        """Return the specification of permutations that are stored together."""
        base = self.original
        fits = replace(base, randomization=randomization, data_seed=base.resolved_data_seed)
        return PermutationsSpec(fits, tuple(self.seeds[randomization][number] for number in numbers))


def repeat_seeds(seed: int, randomization: Randomization, n: int) -> list[int]:
    """Return n distinct seeds for the repeats of a randomization in a test with this seed; none is the test's own.

    They are hashed, so that tests with other seeds, and other randomizations, share no repeats: with consecutive seeds, two tests
    would compare their original fits with the same randomized data. The first seeds do not depend on n. All are below 2^31, since
    they also become estimators' random states.
    """
    fields, defaults = asdict(randomization), asdict(ORIGINAL)
    purpose = "draw/" + json.dumps({name: value for name, value in sorted(fields.items()) if value != defaults[name]})
    distinct, index = {seed: None}, 0
    while len(distinct) <= n:
        distinct[seeds.integer(seed, purpose, index) % 2**31] = None
        index += 1
    return list(distinct)[1:]


def count_repeats(randomizations: Sequence[Randomization], n_permutations: int | Mapping[str, int]) -> dict[Randomization, int]:
    """Return the number of repeats of each randomization.

    Args:
        randomizations: the ones to compare.
        n_permutations: for the two permutation tests; the others get at most `FEW`. Or a mapping from names to numbers; what it does
            not name, a permutation test too, gets `FEW`.

    Raises:
        InputError: for an unknown name, the name of one that is not compared, and a number below 1.
    """
    if isinstance(n_permutations, Mapping):
        for name in n_permutations:
            if name not in RANDOMIZATIONS:
                raise unknown("randomization in n_permutations:", name, RANDOMIZATIONS)
        by_randomization = {RANDOMIZATIONS[name]: n for name, n in n_permutations.items()}
        compared = {without_exchange(r) for r in randomizations}
        stranger = next((name for name in n_permutations if RANDOMIZATIONS[name] not in compared), None)
        if stranger is not None:
            raise InputError(f"n_permutations has {stranger!r}, which is not compared here, expected names of randomizations that are")
        counts = {r: by_randomization.get(without_exchange(r), FEW) for r in randomizations}
    else:
        check("n_permutations", n_permutations, Count)
        counts = {r: n_permutations if null_of(r) else min(n_permutations, FEW) for r in randomizations}
    for n in counts.values():
        check("n_permutations", n, Count)
    return {r: int(n) for r, n in counts.items()}


def check_stop_after(stop_after: int | None, counts: Mapping[Randomization, int]) -> None:
    """Raise InputError for a stop that no permutation test can reach, so that it would have no effect. counts: of `count_repeats`."""
    permutations = max((n for r, n in counts.items() if null_of(r)), default=0)
    if stop_after is not None and stop_after > permutations:
        expected = f"at most {permutations}, the number of permutations" if permutations else "none: no permutation test is compared"
        raise InputError(f"stop_after is {stop_after}, expected {expected}")
