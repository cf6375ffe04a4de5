"""Slow, obvious versions of what the library computes fast."""

import numpy as np


def standardize(image: np.ndarray) -> np.ndarray:
    """TensorFlow's per_image_whitening, by its documentation."""
    n = image.size
    mean = sum(float(v) for v in image.flat) / n
    variance = sum((float(v) - mean) ** 2 for v in image.flat) / n
    return (image - mean) / max(variance**0.5, 1 / n**0.5)


def sgd_with_momentum(weight, gradients, rates, momentum, decay):
    """Updates v ← m v + g + c w; w ← w - lr v."""
    velocity = np.zeros_like(weight)
    for gradient, rate in zip(gradients, rates, strict=True):
        velocity = momentum * velocity + gradient(weight) + decay * weight
        weight = weight - rate * velocity
    return weight


def gaussian_gram(a, b, gamma):
    """exp(-gamma |x - x'|²), entry by entry."""
    return np.array([[np.exp(-gamma * sum((u - v) ** 2 for u, v in zip(x, z, strict=True))) for z in b] for x in a])


def kernel_interpolation(X, y, new, gamma, ridge):
    """Dual coefficients, and values at new points."""
    dual = np.linalg.solve(gaussian_gram(X, X, gamma) + ridge * np.eye(len(X)), y)
    return dual, gaussian_gram(new, X, gamma) @ dual


def random_conv(image, patches, filters, recipe):
    """Features of one image (c, h, w), patch by patch; pixels in 0…255; before standardization."""

    def normalize(patch):
        centered = patch - patch.mean()
        scale = np.linalg.norm(centered) if recipe.variance_bias is None else np.sqrt(centered.var() + recipe.variance_bias)
        return centered / scale

    normal = np.stack([normalize(p) for p in patches])
    mean = normal.mean(0)
    values, vectors = np.linalg.eigh(np.cov(normal.T, bias=True))
    whiten = vectors @ np.diag(1 / np.sqrt(values + recipe.zca)) @ vectors.T
    bank = np.stack([whiten @ (normalize(f) - mean) for f in filters])
    if recipe.unit_filters:
        bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    side = image.shape[1] - 5
    responses = np.array(
        [[bank @ whiten @ (normalize(image[:, i : i + 6, j : j + 6].ravel()) - mean) for j in range(side)] for i in range(side)]
    )
    both = np.maximum(np.concatenate([responses, -responses], axis=2) - recipe.threshold, 0)
    starts = range(0, side - recipe.pool + 1, recipe.stride)
    pool = np.sum if recipe.sums else np.mean
    cells = [[pool(both[i : i + recipe.pool, j : j + recipe.pool], axis=(0, 1)) for j in starts] for i in starts]
    return np.moveaxis(np.array(cells), 2, 0).ravel()
