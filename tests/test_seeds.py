import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shattering import seeds

seed = st.integers(0, 2**40)


@given(seed, st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_words_depend_on_the_index_alone(s, indices):
    together = seeds.words(s, "labels/train", np.array(indices))
    for row, index in zip(together, indices, strict=True):
        assert (seeds.words(s, "labels/train", np.array([index]))[0] == row).all()


def test_words_dense_and_sparse_agree():
    dense = seeds.words(3, "p", np.arange(5000))
    sparse = seeds.words(3, "p", np.array([0, 4999, 10**9]))
    assert (dense[[0, 4999]] == sparse[:2]).all()
    assert len(np.unique(dense)) == dense.size


def test_streams_of_purposes_seeds_and_indices_differ():
    draws = [seeds.generator(s, p, i).random() for s in range(5) for p in "ab" for i in range(5)]
    assert len(set(draws)) == len(draws)
    assert len({seeds.integer(s, p, i) for s in range(5) for p in "ab" for i in range(5)}) == 50


def test_streams_are_fixed_for_good():
    """Stored results depend on these values: a change here changes every run."""
    assert seeds.integer(0, "init") == 1391976149099393129
    assert seeds.words(0, "labels/train", np.array([7]))[0, 0] == np.uint64(10148424908752855848)


def test_global_generators_are_left_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    seeds.generator(0, "x").random(10)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_uniform_is_uniform():
    u = seeds.uniform(seeds.words(0, "u", np.arange(20000))[:, 0])
    assert 0 <= u.min() < u.max() < 1
    assert abs(u.mean() - 0.5) < 4 / np.sqrt(12 * 20000)


def test_any_whole_number_seeds_everywhere():
    with seeds.everywhere(2**70):
        pass
