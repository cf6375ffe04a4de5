import pytest

from shattering.compare.plan import (
    FEATURE_TEST,
    LABEL_TEST,
    ORIGINAL,
    RANDOMIZATIONS,
    Plan,
    count_repeats,
    find_randomizations,
    repeat_seeds,
)
from shattering.errors import InputError
from shattering.randomization import Randomization
from shattering.runs.spec import RunSpec
from tests.conftest import make_split

BASE = RunSpec("digits", model="random-forest", seed=7, data_seed=7)


def test_defaults_by_kind_of_data():
    images, tables = (find_randomizations(None, make_split(n=8, shape=shape)) for shape in ((1, 4, 4), (16,)))
    assert set(tables) < set(images)
    assert images[0] == tables[0] == LABEL_TEST
    assert {r.pixels for r in images} == {"true", "shuffled", "random", "gaussian", "within-class"}


def test_names_and_objects_without_repetition():
    own = Randomization(labels=0.3)
    assert find_randomizations(["random-labels", own]) == [Randomization(labels=1), own]
    with pytest.raises(InputError, match="randomizations has 'random labels' twice, expected each once"):
        find_randomizations(["random-labels", own, Randomization(labels=1)])


@pytest.mark.parametrize("bad", [[], "permuted-labels", ["nonsense"], [Randomization()]])
def test_bad_randomizations(bad):
    with pytest.raises(InputError, match="randomization"):
        find_randomizations(bad)


def test_repeats_have_seeds_of_their_own_on_one_subset():
    plan = Plan(BASE, {LABEL_TEST: 19, FEATURE_TEST: 19})
    specs = [spec for repeat in plan.order() for spec in plan.specs(repeat)]
    assert {spec.resolved_data_seed for spec in specs} == {7}
    assert [spec.seed for spec in specs if spec.randomization == ORIGINAL] == [7]
    assert len({spec.seed for spec in specs}) == 39, "no two repeats, of one randomization or of two, share what is drawn"
    assert len({spec.run_id for spec in specs}) == 39


@pytest.mark.parametrize("name", RANDOMIZATIONS)
def test_tests_with_other_seeds_share_no_repeats(name):
    r = RANDOMIZATIONS[name]
    tests = [repeat_seeds(seed, r, 199) for seed in range(20)]
    assert len({seed for test in tests for seed in test}) == 20 * 199
    assert all(0 <= seed < 2**31 for test in tests for seed in test), "which random states, of compiled libraries too, can be"
    assert repeat_seeds(3, r, 19) == tests[3][:19], "more repeats go on where fewer ended"


def test_seeds_of_repeats_are_distinct_even_where_their_hashes_collide(monkeypatch):
    monkeypatch.setattr("shattering.seeds.integer", lambda seed, purpose, index: index // 3)
    assert repeat_seeds(1, LABEL_TEST, 4) == [0, 2, 3, 4], "1 is the original fit's"


def test_seeds_of_repeats_are_fixed_for_good():
    """Stored tests depend on these values: a change here changes every p-value."""
    assert repeat_seeds(0, LABEL_TEST, 2) == [658593410, 1996570209]
    assert repeat_seeds(0, Randomization(labels=0.3), 1) == [2091978838]


def test_any_beginning_of_the_order_has_even_shares():
    repeats = {LABEL_TEST: 19, RANDOMIZATIONS["gaussian-pixels"]: 3, FEATURE_TEST: 19}
    order = Plan(BASE, repeats).order()
    assert order[0] == (ORIGINAL, (0,))
    assert {r for r, _ in order[1:4]} == set(repeats)
    for end in range(4, len(order)):
        shares = [sum(r == mine for r, _ in order[:end]) / n for mine, n in repeats.items()]
        assert max(shares) - min(shares) <= 1 / 3 + 1e-9
    assert len(set(order)) == len(order) == 42


def test_folds_are_runs_of_one_draw():
    from dataclasses import replace

    plan = Plan(replace(BASE, folds=3, fold=0), {LABEL_TEST: 2})
    specs = plan.fits(LABEL_TEST, 1)
    assert [spec.fold for spec in specs] == [0, 1, 2]
    assert len({spec.seed for spec in specs}) == 1


def test_numbers_of_repeats():
    r = [LABEL_TEST, RANDOMIZATIONS["gaussian-pixels"]]
    assert list(count_repeats(r, 99).values()) == [99, 3]
    assert list(count_repeats(r, 2).values()) == [2, 2]
    assert list(count_repeats(r, {"permuted-labels": 9}).values()) == [9, 3]
    for bad in (0, True, 1.5, {"permuted-labels": 0}, {"nonsense": 3}, {"within-class": 9}):
        with pytest.raises(InputError, match="n_permutations"):
            count_repeats(r, bad)  # type: ignore[arg-type]  # that is what is refused
