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
