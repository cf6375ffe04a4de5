"""Fixed features of images: a literal name → a scikit-learn transformer of images given as rows."""

from shattering.features.gabor import GaborFeatures

FEATURES: dict[str, type] = {"gabor": GaborFeatures}
