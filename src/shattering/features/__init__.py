"""Fixed features of images: a literal name → a scikit-learn transformer of images given as rows."""

FEATURES: dict[str, type] = {}
