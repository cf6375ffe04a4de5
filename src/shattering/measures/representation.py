"""The hidden representation of the training examples: clusters, dimensions, single units. φ: inputs of the last linear layer, (n, h)."""

from collections.abc import Iterator

import torch
from torch.nn import functional as F

from shattering import seeds
from shattering.learners.train.batches import Examples
from shattering.measures.curvature import head
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.sampling import by_class, shuffled, unlabelled, unlabelled_for

PARTNERS = 10  # with which each example is mixed, at most
NEIGHBOURS = 2000  # examples among which nearest neighbours are looked for
_ROUNDING = 16  # units in the last place of the longest features, by which features of equal examples may differ
ORDERS, SHARES = 20, 10  # in which units are ablated; in steps of a tenth


def davies_bouldin(fitted: Fitted) -> float:
    """Return the mean over classes c of max_c' (s_c + s_c') / ‖μ_c - μ_c'‖ in the first hidden layer.

    μ_c: mean of class c, s_c: mean distance to it (Davies & Bouldin, "A cluster separation measure", 1979); Natekar & Sharma
    ("Representation based complexity measures for predicting generalization in deep learning", 2020), with the hidden
    layer max-pooled to 4 by 4. All examples and all classes count, in whatever blocks they are evaluated.

    Example:
        >>> print(f"{davies_bouldin(fitted):.3g}")
        2.24
    """
    return fitted.once(_davies_bouldin)


def _davies_bouldin(fitted: Fitted) -> float:
    _ = fitted.logits  # raises for a diverged network
    if len(fitted.layers) < 2:
        raise NotComputable("the network has no hidden layer")
    counts = fitted.labels.bincount(minlength=fitted.n_classes).double().cpu()
    present = counts > 0
    means = sum(F.one_hot(y, fitted.n_classes).double().T @ h for h, y in _first_hidden(fitted)) / counts.clamp(min=1)[:, None]
    spread = torch.zeros(fitted.n_classes, dtype=torch.float64)
    for h, y in _first_hidden(fitted):
        spread.index_add_(0, y, (h - means[y]).norm(dim=1))
    return _index(means[present], (spread / counts.clamp(min=1))[present])


def _first_hidden(fitted: Fitted) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield blocks of the first hidden layer (b, h) float64 and labels, on the CPU."""
    with torch.no_grad():
        for inputs, labels in fitted.blocks():
            h, _ = fitted.hidden(inputs, 1)
            pooled = F.adaptive_max_pool2d(h, 4) if h.ndim == 4 and min(h.shape[2:]) > 4 else h
            yield pooled.flatten(1).double().cpu(), labels.cpu()


def _index(means: torch.Tensor, spread: torch.Tensor) -> float:
    if len(means) < 2:
        raise NotComputable("the examples are all of one class")
    ratios = (spread[:, None] + spread) / torch.cdist(means, means)  # classes with one mean: infinite
    ratios = ratios.nan_to_num(nan=torch.inf, posinf=torch.inf).fill_diagonal_(-torch.inf)
    return float(ratios.amax(1).mean())


def mixup_error(fitted: Fitted) -> float:
    """Return the share of (x + x')/2, x and x' two training examples of one class, that are not predicted as that class.

    Natekar & Sharma (2020), with the labels that were trained on. Each example is mixed with up to 10 others. Of tables
    with categories, a mixture means nothing.

    Example:
        >>> print(f"{mixup_error(fitted):.3g}")
        0.0254
    """
    return fitted.once(_mixup_error)


def _mixup_error(fitted: Fitted) -> float:
    _ = fitted.logits  # raises for a diverged network
    first, second = pairs(fitted)
    size, wrong = fitted.block_size(0), 0
    for a, b in zip(first.split(size), second.split(size), strict=True):
        inputs = fitted.inputs(a)
        if not inputs.is_floating_point():
            raise NotComputable("inputs are whole numbers, such as tokens, so that there is nothing between them")
        with torch.no_grad():
            logits = fitted.call(fitted.parameters, (inputs + fitted.inputs(b)) / 2)
        wrong += int((logits.argmax(1) != fitted.labels[a]).sum())
    return wrong / len(first)


def pairs(fitted: Fitted) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows of pairs of different examples of one class, (m,) each; no pair twice. Raises NotComputable without any."""
    first, second = [], []
    for rows in by_class(fitted):
        for shift in range(1, min(PARTNERS, len(rows) // 2) + 1):
            ahead = rows.roll(-shift)
            once = len(rows) // 2 if 2 * shift == len(rows) else len(rows)
            first.append(rows[:once])
            second.append(ahead[:once])
    if not first:
        raise NotComputable("no class has two examples")
    return torch.cat(first), torch.cat(second)


def clustering_times_mixup(fitted: Fitted) -> float:
    """Return `davies_bouldin` times `mixup_error`, the best final score of the PGDL competition (Natekar & Sharma 2020).

    Example:
        >>> print(f"{clustering_times_mixup(fitted):.3g}")
        0.057
    """
    return davies_bouldin(fitted) * mixup_error(fitted)


def class_distance_variance(fitted: Fitted) -> float:
    """Return the mean over c ≠ c' of (v_c + v_c') / 2‖μ_c - μ_c'‖², v_c: the mean squared distance of φ to its class mean μ_c.

    Galanti, György & Hutter ("On the role of neural collapse in transfer learning", ICLR 2022); it is 0 where the features
    have collapsed onto the means of their classes (NC1 of Papyan, Han & Donoho, PNAS 2020).

    Example:
        >>> print(f"{class_distance_variance(fitted):.3g}")
        1.69
    """
    _ = fitted.logits  # raises for a diverged network
    features, labels = fitted.features, fitted.labels.cpu()
    classes = [features[labels == c] for c in labels.unique()]
    if len(classes) < 2:
        raise NotComputable("the examples are all of one class")
    means = torch.stack([rows.mean(0) for rows in classes])
    spread = torch.stack([(rows - mean).square().sum(1).mean() for rows, mean in zip(classes, means, strict=True)])
    ratios = (spread[:, None] + spread) / (2 * torch.cdist(means, means).square())
    others = ~torch.eye(len(classes), dtype=torch.bool)
    return float(ratios[others].nan_to_num(nan=torch.inf, posinf=torch.inf).mean())


def effective_rank(fitted: Fitted) -> float:
    """Return exp(-Σ q_j log q_j), q: the eigenvalues of the covariance of φ, as shares of their sum.

    Roy & Vetterli ("The effective rank: a measure of effective dimensionality", EUSIPCO 2007), of the covariance matrix.

    Example:
        >>> print(f"{effective_rank(fitted):.3g}")
        5.6
    """
    _ = fitted.logits  # raises for a diverged network
    centred = fitted.features - fitted.features.mean(0)
    squares = torch.linalg.svdvals(centred).square()
    if not float(squares.sum()) > 1e-24 * max(1.0, float(fitted.features.square().sum())):
        raise NotComputable("the features are the same for every example")
    shares = squares / squares.sum()
    return float(torch.special.entr(shares).sum().exp())


def intrinsic_dimension(fitted: Fitted) -> float:
    """Return the dimension d of φ by TwoNN: the slope of -log(1 - F(μ)) on log μ through 0, μ: second over first neighbour's distance.

    Facco, d'Errico, Rodriguez & Laio ("Estimating the intrinsic dimension of datasets by a minimal neighborhood information", Scientific
    Reports 2017), without the largest tenth of μ; of representations: Ansuini et al. (NeurIPS 2019). At most 2,000 examples; features
    that are equal up to rounding count once.

    Example:
        >>> print(f"{intrinsic_dimension(fitted):.3g}")
        5.68
    """
    _ = fitted.logits  # raises for a diverged network
    points = fitted.features[shuffled(fitted)[:NEIGHBOURS].cpu()]
    return two_nearest(points, _ROUNDING * torch.finfo(fitted.dtype).eps * float(points.norm(dim=1).max()))


def two_nearest(points: torch.Tensor, apart: float = 0.0) -> float:
    """Return the dimension of points (n, h) float64 by TwoNN. Raises NotComputable for fewer than 10 different points.

    apart: points that are no further from each other than this count once.
    """
    points = points.unique(dim=0)
    points = points - points.mean(0)
    points = points[_firsts(points, apart)]
    n = len(points)
    if n < 10:
        raise NotComputable(f"the features of {n} examples differ, expected at least 10")
    distances = torch.cat([_nearest(block, points, 3) for block in points.split(256)])
    ratios = (distances[:, 2] / distances[:, 1]).log().sort().values[: int(0.9 * n)]
    heights = -torch.log1p(-torch.arange(1, len(ratios) + 1, dtype=torch.float64) / n)
    if not float(ratios.square().sum()):
        raise NotComputable("every example's two nearest neighbours are equally far")
    return float((ratios * heights).sum() / ratios.square().sum())


def _firsts(points: torch.Tensor, apart: float) -> torch.Tensor:
    """Return which points have none within a distance among those before them, (n,) bool: exact for the few that scalar products say."""
    first = torch.ones(len(points), dtype=torch.bool)
    close = max(apart, 1e-6 * float(points.norm(dim=1).max()))
    for start in range(0, len(points), 256):
        block = points[start : start + 256]
        rough = torch.cdist(block, points, compute_mode="use_mm_for_euclid_dist")
        own, before = (rough <= close).tril(start - 1).nonzero(as_tuple=True)
        first[start + own[(block[own] - points[before]).norm(dim=1) <= apart]] = False
    return first


def _nearest(points: torch.Tensor, others: torch.Tensor, k: int) -> torch.Tensor:
    """Return the distances to the k nearest others, (b, k), ascending: exact for the few that scalar products say are nearest."""
    rough = torch.cdist(points, others, compute_mode="use_mm_for_euclid_dist")
    few = rough.topk(min(2 * k + 2, len(others)), largest=False).indices
    return (points[:, None] - others[few]).square().sum(2).sqrt().topk(k, largest=False).values.sort(1).values


def ablation_area(fitted: Fitted) -> float:
    """Return 1 - the area under the training accuracy against the share of units of φ that are set to their means.

    Morcos, Barrett, Rabinowitz & Botvinick ("On the importance of single directions for generalization", ICLR 2018): mean
    over 20 random orders of the units, with shares 0, 0.1, …, 1 and the trapezoidal rule.

    Raises:
        NotComputable: where logits are not a linear function of the last layer's inputs.

    Example:
        >>> print(f"{ablation_area(fitted):.3g}")
        0.436
    """
    weight, _ = head(fitted)
    centred, labels = fitted.features - fitted.features.mean(0), fitted.labels.cpu()
    width, total = weight.shape[1], 0.0
    for order in range(ORDERS):
        units = torch.from_numpy(seeds.generator(fitted.seed, "measures/ablation", order).permutation(width))
        logits = fitted.logits.cpu()
        accuracies = [(logits.argmax(1) == labels).double().mean()]
        for share in range(SHARES):
            chosen = units[round(share * width / SHARES) : round((share + 1) * width / SHARES)]
            logits = logits - centred[:, chosen] @ weight[:, chosen].T
            accuracies.append((logits.argmax(1) == labels).double().mean())
        total += float(torch.trapezoid(torch.stack(accuracies), dx=1 / SHARES))
    return 1 - total / ORDERS


def seed_dissimilarity(fitted: Fitted) -> float:
    """Return 1 - the linear CKA of φ on the unlabelled examples with that of a network of another seed, mean over the others.

    Kornblith, Norouzi, Lee & Hinton ("Similarity of neural network representations revisited", ICML 2019); Morcos, Raghu & Bengio
    ("Insights on representational similarity in neural networks with canonical correlation", NeurIPS 2018) compare seeds so.

    Example:
        >>> print(f"{seed_dissimilarity(fitted):.3g}")
        0.368
    """
    _ = fitted.logits  # raises for a diverged network
    if not fitted.siblings:
        raise NotComputable("there is no network trained from another seed")
    own = _centred_features(fitted, unlabelled(fitted))
    return sum(1 - alignment(own, _centred_features(other, unlabelled_for(fitted, other))) for other in fitted.siblings) / len(
        fitted.siblings
    )


@torch.no_grad()
def _centred_features(fitted: Fitted, examples: Examples) -> torch.Tensor:
    found = torch.cat([fitted.hidden(inputs, -1)[0].flatten(1).double().cpu() for inputs, _ in fitted.blocks(examples)])
    return found - found.mean(0)


def alignment(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the linear CKA ‖aᵀb‖² / (‖aᵀa‖ ‖bᵀb‖) of centred features (n, h) and (n, h'). Raises NotComputable for features of zeros."""
    norms = float((a.T @ a).norm() * (b.T @ b).norm())
    if not norms > 0:
        raise NotComputable("the features are the same for every example")
    return float((a.T @ b).square().sum()) / norms
