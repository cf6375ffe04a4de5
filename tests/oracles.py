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
