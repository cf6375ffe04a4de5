"""What encoding images again as JPEG costs the models of table 3: how much of a distance from the paper the encoding may explain.

    python benchmarks/jpeg.py [--dataset cifar10] [--n 5000] [--n-test 5000] [--filters 512] [--seeds 0 1 2] [--json FILE]

Training and test images are encoded once more, at qualities from none (as they are stored) down, and the random conv-net
(ridge 0.01) and the Gaussian kernel on pixels (gamma 0.01, ridge 0.1) fitted to the same ones. Test errors are means over seeds, which draw
the images and the filters; the change is to the same seed's error without encoding. --json is written after every seed.
"""

import argparse
import io
import json
import platform
import statistics
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from shattering import KernelInterpolatorClassifier, RandomConvClassifier, load_dataset
from shattering.runs.provenance import processor

QUALITIES = (None, 90, 75, 50, 30, 15)


def encoded(images: np.ndarray, quality: int | None) -> tuple[np.ndarray, float]:
    """uint8 (n, 3, h, w) images as rows in 0…1 after JPEG of a quality, and the root mean square change of a value (0…255)."""
    new = images
    if quality is not None:
        new = np.stack([_through_jpeg(image.transpose(1, 2, 0), quality).transpose(2, 0, 1) for image in images])
    change = float(np.sqrt(np.square(new.astype(float) - images).mean()))
    return (new.reshape(len(new), -1) / 255).astype(np.float32), change


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def errors(seed: int, options: argparse.Namespace) -> list[dict]:
    """Per quality: test errors of both models, and how much the training images changed."""
    data = load_dataset(options.dataset, options.n, options.n_test, seed)
    y, truth = data.train.labels.numpy(), data.test.labels.numpy()
    rows = []
    for quality in QUALITIES:
        (X, change), (test, _) = (encoded(split.inputs.numpy(), quality) for split in (data.train, data.test))
        conv = RandomConvClassifier(options.filters, ridge=0.01, random_state=seed).fit(X, y)
        kernel = KernelInterpolatorClassifier(gamma=0.01, ridge=0.1).fit(X, y)
        rows.append({"quality": quality, "change": change, "conv": 1 - conv.score(test, truth), "gaussian": 1 - kernel.score(test, truth)})
        print(seed, rows[-1], file=sys.stderr, flush=True)
    return rows


def summary(by_seed: dict[int, list[dict]]) -> list[dict]:
    """Means over seeds, and of the changes to no encoding their means and least and largest."""
    rows = []
    for at, quality in enumerate(QUALITIES):
        row = {"quality": quality, "change": statistics.mean(of[at]["change"] for of in by_seed.values())}
        for name in ("conv", "gaussian"):
            costs = [of[at][name] - of[0][name] for of in by_seed.values()]
            row |= {name: statistics.mean(of[at][name] for of in by_seed.values())}
            row |= {f"{name}_cost": statistics.mean(costs), f"{name}_cost_range": [min(costs), max(costs)]}
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--n-test", type=int, default=5000)
    parser.add_argument("--filters", type=int, default=512)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result: dict = {name: getattr(options, name) for name in ("dataset", "n", "n_test", "filters")}
    result |= {"versions": {"torch": torch.__version__, "python": platform.python_version()}, "processor": processor()}
    by_seed: dict[int, list[dict]] = {}
    for seed in options.seeds:
        by_seed[seed] = errors(seed, options)
        result |= {"seeds": list(by_seed), "by_quality": summary(by_seed), "by_seed": by_seed}
        if options.json:
            options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["by_quality"], indent=1))


if __name__ == "__main__":
    main()
