"""Which randomizations a test compares, how often each is drawn, and the runs that makes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

from shattering import seeds
from shattering.errors import InputError, shown, unknown
from shattering.parameters import Count, check
from shattering.randomization import Randomization
from shattering.runs.spec import RunSpec

RANDOMIZATIONS: dict[str, Randomization] = {
    "permuted-labels": Randomization(labels=1, label_mode="permute"),
    "random-labels": Randomization(labels=1),
    "corrupted-labels": Randomization(labels=0.2, label_mode="flip"),
    "shuffled-pixels": Randomization(pixels="shuffled"),
    "random-pixels": Randomization(pixels="random"),
    "gaussian-pixels": Randomization(pixels="gaussian"),
    "within-class": Randomization(pixels="within-class"),
}
ORIGINAL = Randomization()
LABEL_TEST = RANDOMIZATIONS["permuted-labels"]
FEATURE_TEST = RANDOMIZATIONS["within-class"]
TESTS = {LABEL_TEST: "labels do not depend on the features", FEATURE_TEST: "within a class, features do not depend on each other"}
FOR_IMAGES = ("permuted-labels", "corrupted-labels", "shuffled-pixels", "random-pixels", "gaussian-pixels", "within-class")
FOR_TABLES = ("permuted-labels", "corrupted-labels", "gaussian-pixels", "within-class")
FEW = 3  # draws of a randomization that is shown but not a test


def find_randomizations(given: Sequence[str | Randomization] | None, is_image: bool) -> list[Randomization]:
    """The randomizations given, by name or as such; None: those for images, or for tables.

    Raises InputError for an unknown name, an empty list, one that stands there twice, and one that randomizes nothing.
    """
    if given is not None and (not isinstance(given, (list, tuple, set, frozenset)) or not given):
        raise InputError(f"randomizations is {shown(given)}, expected a list of at least one")
    found: list[Randomization] = []
    for one in (FOR_IMAGES if is_image else FOR_TABLES) if given is None else given:
        if not isinstance(one, (str, Randomization)):
            raise InputError(f"randomizations has {shown(one)}, expected names and instances of Randomization")
        if isinstance(one, str) and one not in RANDOMIZATIONS:
            raise unknown("randomization", one, RANDOMIZATIONS)
        found.append(RANDOMIZATIONS[one] if isinstance(one, str) else one)
        if found[-1] == ORIGINAL:
            raise InputError("randomizations has one that randomizes nothing; the original data are always there")
        if found[-1] in found[:-1]:
            raise InputError(f"randomizations has {one if isinstance(one, str) else one.title!r} twice, expected each once")
    return found


@dataclass(frozen=True)
class Scheme:
    """What is run: `original`, the specs of the original fit (one a fold), and those of every draw of each randomization.

    draws: randomization → how often it is drawn.
    """

    original: RunSpec
    draws: Mapping[Randomization, int]

    @cached_property
    def seeds(self) -> Mapping[Randomization, Sequence[int]]:
        """The seed of every draw of each randomization; the original fit has the test's."""
        return {r: draw_seeds(self.original.seed, r, n) for r, n in self.draws.items()} | {ORIGINAL: [self.original.seed]}

    def fits(self, randomization: Randomization, draw: int) -> list[RunSpec]:
        """The runs of a draw, one a fold."""
        base, seed = self.original, self.seeds[randomization][draw]
        spec = replace(base, randomization=randomization, seed=seed, data_seed=base.resolved_data_seed)
        return [spec] if base.folds is None else [replace(spec, fold=fold) for fold in range(base.folds)]

    def order(self) -> list[tuple[Randomization, int]]:
        """The draws in the order in which they are made: the original one, one of each randomization, then all evenly.

        Whenever this is cut short, every randomization has had about the same share of its draws.
        """
        shares = [((draw > 0, draw / n, place), r, draw) for place, (r, n) in enumerate(self.draws.items()) for draw in range(n)]
        return [(ORIGINAL, 0), *((r, draw) for _, r, draw in sorted(shares, key=lambda entry: entry[0]))]


def draw_seeds(seed: int, randomization: Randomization, n: int) -> list[int]:
    """n seeds for the draws of a randomization in a test with this seed: no two alike, and none the test's own.

    They are hashed, so that tests with other seeds, and other randomizations, have draws of their own: with consecutive
    seeds, two tests would compare their original fits with the same draws. The first ones do not depend on n. Below 2^31,
    for they become estimators' random states, too.
    """
    fields, defaults = asdict(randomization), asdict(ORIGINAL)
    purpose = "draw/" + json.dumps({name: value for name, value in sorted(fields.items()) if value != defaults[name]})
    found, index = {seed: None}, 0
    while len(found) <= n:
        found[seeds.integer(seed, purpose, index) % 2**31] = None
        index += 1
    return list(found)[1:]


def n_draws_of(randomizations: Sequence[Randomization], n_draws: int | Mapping[str, int]) -> dict[Randomization, int]:
    """How often each is drawn. A number: for the two tests; the others get at most `FEW`. Raises InputError for less than 1."""
    if isinstance(n_draws, Mapping):
        for name in n_draws:
            if name not in RANDOMIZATIONS:
                raise unknown("randomization in n_draws:", name, RANDOMIZATIONS)
        by_randomization = {RANDOMIZATIONS[name]: n for name, n in n_draws.items()}
        out = {r: by_randomization.get(r, FEW) for r in randomizations}
    else:
        check("n_draws", n_draws, Count)
        out = {r: n_draws if r in TESTS else min(n_draws, FEW) for r in randomizations}
    for n in out.values():
        check("n_draws", n, Count)
    return {r: int(n) for r, n in out.items()}
