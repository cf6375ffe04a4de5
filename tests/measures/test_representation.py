"""Hidden representations against scikit-learn, numpy and geometry that is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import davies_bouldin_score
from torch import nn
from torch.nn import functional as F

from shattering.measures.curvature import head
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.representation import (
    ablation_area,
    alignment,
    class_distance_variance,
    clustering_times_mixup,
    davies_bouldin,
    effective_rank,
    intrinsic_dimension,
    mixup_error,
    pairs,
    seed_dissimilarity,
    two_nearest,
)
from tests.measures.networks import fitted, of_module, rescaled_relu, small_data, small_relu, tiny

ALONE = (
    davies_bouldin,
    mixup_error,
    clustering_times_mixup,
    class_distance_variance,
    effective_rank,
    intrinsic_dimension,
    ablation_area,
)


def chosen(name: str, dtype: torch.dtype = torch.float64) -> Fitted:
    """A network none of whose classes have the same mean."""
    if name != "small":
        return tiny(name, dtype)
    inputs, labels = small_data()
    return of_module(small_relu(sizes=(3, 5, 4, 3)), inputs.to(dtype), labels)


@pytest.mark.parametrize("name", ["small", "branches", "normalized", "alexnet", "inception", "inception-no-bn"])
def test_clusters_are_those_of_scikit_learn(name):
    """A10: all examples and all classes count, in one batch or many."""
    made = chosen(name)
    h = made.hidden(made.inputs(torch.arange(made.n)), 1)[0].detach()
    h = F.adaptive_max_pool2d(h, 4) if h.ndim == 4 and h.shape[-1] > 4 else h
    expected = davies_bouldin_score(h.flatten(1).numpy(), made.labels.numpy())
    assert davies_bouldin(made) == pytest.approx(expected, rel=1e-8)
    small_blocks = Fitted(made.module, made.train, made.n_classes, block=5)
    assert davies_bouldin(small_blocks) == pytest.approx(expected, rel=1e-8)
    assert davies_bouldin(chosen(name, torch.float32)) == pytest.approx(expected, rel=1e-4)
    assert clustering_times_mixup(made) == davies_bouldin(made) * mixup_error(made)


def test_pairs_are_of_one_class_and_different():
    inputs, _ = small_data()
    labels = torch.tensor([0] * 25 + [1] * 4 + [2])
    made = of_module(small_relu(), inputs, labels)
    first, second = pairs(made)
    assert torch.equal(labels[first], labels[second])
    assert len({frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}) == len(first) == 250 + 6
    x = (inputs[first] + inputs[second]) / 2
    assert mixup_error(made) == pytest.approx(float((made.module(x).argmax(1) != labels[first]).double().mean()))


def test_a_linear_classifier_that_fits_has_no_mixup_error():
    inputs, _ = small_data()
    linear = nn.Linear(3, 3).double()
    assert mixup_error(of_module(linear, inputs, linear(inputs).argmax(1))) == 0
    with pytest.raises(NotComputable, match="no class has two examples"):
        mixup_error(of_module(linear, inputs[:3], torch.arange(3)))


@pytest.mark.parametrize("name", ["small", "branches", "normalized", "alexnet", "inception", "inception-no-bn"])
def test_class_distances_in_a_loop(name):
    made = chosen(name)
    phi, y = made.features.numpy(), made.labels.numpy()
    ratios = []
    for a in np.unique(y):
        for b in np.unique(y):
            if a != b:
                means = phi[y == a].mean(0), phi[y == b].mean(0)
                spread = [((phi[y == c] - m) ** 2).sum(1).mean() for c, m in zip((a, b), means, strict=True)]
                ratios.append(sum(spread) / 2 / ((means[0] - means[1]) ** 2).sum())
    assert class_distance_variance(made) == pytest.approx(np.mean(ratios), rel=1e-9)
    q = np.linalg.eigvalsh(np.cov(phi.T)).clip(1e-300)
    q /= q.sum()
    assert effective_rank(made) == pytest.approx(np.exp(-(q * np.log(q)).sum()), rel=1e-6)


def test_collapsed_features():
    labels = torch.arange(9) % 3
    made = of_module(nn.Linear(3, 3).double(), torch.eye(3, dtype=torch.float64)[labels], labels)
    assert class_distance_variance(made) == 0
    assert effective_rank(made) == pytest.approx(2)
    same = of_module(nn.Linear(3, 3).double(), torch.ones(9, 3, dtype=torch.float64), labels)
    assert class_distance_variance(same) == np.inf
    for function, reason in [(effective_rank, "the features are the same"), (intrinsic_dimension, "the features of 1 examples differ")]:
        with pytest.raises(NotComputable, match=reason):
            function(same)
    for function, reason in [(davies_bouldin, "no hidden layer"), (class_distance_variance, "all of one class")]:
        with pytest.raises(NotComputable, match=reason):
            function(of_module(nn.Linear(3, 3).double(), torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.int64)))
    dead = small_relu()
    nn.init.constant_(dead[0].bias, -1e9)
    assert davies_bouldin(of_module(dead, *small_data())) == np.inf  # the classes have one mean
    with pytest.raises(NotComputable, match="all of one class"):
        davies_bouldin(of_module(small_relu(), small_data()[0], torch.zeros(30, dtype=torch.int64)))


def test_white_noise_has_full_rank():
    noise = torch.randn(2000, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert effective_rank(of_module(nn.Linear(5, 2).double(), noise, torch.arange(2000) % 2)) == pytest.approx(5, rel=0.01)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_a_cube_has_its_dimension(d):
    generator = torch.Generator().manual_seed(d)
    cube = torch.rand(1000, d, generator=generator, dtype=torch.float64)
    rotated = cube @ torch.linalg.qr(torch.randn(7, d, generator=generator, dtype=torch.float64)).Q.T
    assert two_nearest(rotated) == pytest.approx(d, rel=0.12)
    assert two_nearest(torch.cat([rotated, rotated[:50]])) == two_nearest(rotated)  # equal points count once


def test_nearest_neighbours_in_a_loop():
    made = tiny("mlp")
    points = np.unique(made.features.numpy(), axis=0)
    n, logs = len(points), []
    for i in range(n):
        distances = np.sort(np.linalg.norm(points - points[i], axis=1))
        logs.append(np.log(distances[2] / distances[1]))
    x = np.sort(logs)[: int(0.9 * n)]
    y = -np.log(1 - np.arange(1, len(x) + 1) / n)
    assert intrinsic_dimension(made) == pytest.approx((x * y).sum() / (x * x).sum(), rel=1e-8)
    assert intrinsic_dimension(tiny("mlp", torch.float32)) == pytest.approx(intrinsic_dimension(made), rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_that_are_equal_up_to_rounding_count_once(dtype):
    """A third of the examples is there twice, and a sum in another order differs in the last digit."""
    inputs = torch.randn(60, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    again = (inputs[:30] * 3) / 3 * (1 + torch.finfo(dtype).eps)
    assert not bool((again == inputs[:30]).all())
    linear = nn.Linear(8, 2).to(dtype)
    once, twice = (of_module(linear, x, torch.arange(len(x)) % 2) for x in (inputs, torch.cat([inputs, again])))
    assert intrinsic_dimension(twice) == pytest.approx(intrinsic_dimension(once), rel=1e-5)


def test_one_unit_that_decides():
    """Of ten units one carries everything: it is there until it is ablated, at a place that is uniform over the orders."""
    unit = torch.tensor([1.0, -1.0] * 20, dtype=torch.float64)
    inputs = torch.cat([unit[:, None], torch.randn(40, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)], 1)
    linear = nn.Linear(10, 2, bias=False).double()
    nn.init.zeros_(linear.weight)
    with torch.no_grad():
        linear.weight[0, 0] = 1.0
    made = of_module(linear, inputs, (unit < 0).long())
    assert made.error == 0
    assert ablation_area(made) == pytest.approx(0.25, abs=0.07)  # accuracy 1, then ½: area ¾ on average


def test_ablation_is_that_of_the_head():
    made = tiny("branches")
    weight, bias = head(made)
    torch.testing.assert_close(made.features @ weight.T + bias, made.logits, rtol=1e-9, atol=1e-9)
    assert 0 < ablation_area(made) < 1
    assert ablation_area(tiny("branches", torch.float32)) == pytest.approx(ablation_area(made), abs=0.01)


def test_rotated_features_are_the_same_representation():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(50, 6, generator=generator, dtype=torch.float64)
    a = a - a.mean(0)
    Q = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    assert alignment(a, 3 * a @ Q) == pytest.approx(1)
    b = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    H = np.eye(50) - 1 / 50
    K, L = (H @ (m @ m.T).numpy() @ H for m in (a, b))
    assert alignment(a, b - b.mean(0)) == pytest.approx((K * L).sum() / np.linalg.norm(K) / np.linalg.norm(L))
    inputs, labels = small_data()
    one, two = (of_module(small_relu(seed), inputs, labels) for seed in (0, 1))
    made = of_module(small_relu(0), inputs, labels, siblings=[one, two], unlabelled=inputs)
    assert 0 < seed_dissimilarity(made) < 0.5
    assert seed_dissimilarity(of_module(small_relu(0), inputs, labels, siblings=[one], unlabelled=inputs)) == pytest.approx(0)
    with pytest.raises(NotComputable, match="there is no network trained from another seed"):
        seed_dissimilarity(fitted("mlp"))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.2, 5))
def test_what_is_unchanged_by_rescaling_layers(seed, factor):
    inputs, labels = small_data(seed)
    for function in ALONE:
        if function is not intrinsic_dimension:
            made, other = (of_module(m, inputs, labels) for m in (small_relu(seed), rescaled_relu(seed, factor)))
            assert function(other) == pytest.approx(function(made), rel=1e-6), function.__name__
