"""Cost of random convolutional features, and of their Gram matrix: ours against the bare matrix products in them.

    python benchmarks/random_conv.py [--dataset cifar10] [--n 2000] [--few 20] [--gram-n 10000] [--repeats 5] [--only transform]
        [--note TEXT] [--json FILE]

One block of 256 filters, recipe "a", float32.
  features   ours: patches, normalized, filtered, rectified and pooled
  in order   the same, one after the other, every operation on all threads
  products   only the products of as many patches with the filters, which is what could not be less
  gram       a block's features (of --gram-n images, given) added to a stored Gram matrix
  syrk       half of a product of that size, which is what a symmetric one needs
  transform  `RandomConvFeatures.transform` of --few images, for each recipe, after a fit to --n
  bare       the features of these images, and nothing else
Parts are interleaved; figures are medians of seconds, over_products and over_syrk ratios of medians, transform_over_bare the median of
the ratios of neighbours, which other work on the machine disturbs least. --only transform measures these two alone, and leaves what
else is in the file.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line has it

import numpy as np
import torch

from shattering import load_dataset
from shattering.data.preprocess import to_float
from shattering.features import random_conv
from shattering.features.random_conv import RECIPES, RandomConvFeatures
from shattering.linalg.stored import StoredGram
from shattering.runs.provenance import processor


def parts(features: RandomConvFeatures, n: int, gram_n: int) -> dict[str, Callable[[], object]]:
    """What is timed."""
    images = features.training_images_.flatten(1)[:n]
    kernels, _ = features._filters[0]
    _, height, width = features.image_shape_
    places = (height - features.patch + 1) * (width - features.patch + 1)
    patches = torch.rand(4 * places, len(kernels))
    block = torch.rand(gram_n, features.features_per_filter_ * kernels.shape[1])
    gram = StoredGram.zeros(gram_n)

    def in_order() -> None:
        ours, random_conv._in_threads = random_conv._in_threads, lambda work, rows, _: [work(part) for part in rows]
        try:
            features.block(0, images)
        finally:
            random_conv._in_threads = ours

    def products() -> None:
        for _ in range(n // 4):
            torch.mm(patches, kernels)

    return {
        "features": lambda: features.block(0, images),
        "in order": in_order,
        "products": products,
        "gram": lambda: gram.add((0, 0), block),
        "syrk": lambda: block @ block[: gram_n // 2].T,
    }


def few_parts(images: np.ndarray, few: int) -> dict[str, Callable[[], object]]:
    """What is timed of a few new images, each thing beside what it is compared with."""
    found: dict[str, Callable[[], object]] = {}
    for recipe in RECIPES:
        features = RandomConvFeatures(256, recipe=recipe).fit(images)
        new = np.ascontiguousarray(images[:few])
        found[f"transform {recipe}"] = partial(features.transform, new)
        found[f"bare {recipe}"] = partial(features.block, 0, torch.from_numpy(new))
    return found


def measured(timed: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(repeats + 1):  # the first is not counted
        for name, part in timed.items():
            start = time.perf_counter()
            part()
            seconds[name].append(time.perf_counter() - start)
    return {name: of[1:] for name, of in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--few", type=int, default=20)
    parser.add_argument("--gram-n", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=["transform"])
    parser.add_argument("--note", help="to be kept beside the figures, such as what else the machine did")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    images = to_float(load_dataset(options.dataset, options.n).train.inputs).flatten(1).numpy()
    about = {"dataset": options.dataset, "n": len(images), "repeats": options.repeats}
    machine = {"versions": {"torch": torch.__version__, "python": platform.python_version()}}
    machine |= {"processor": processor(), "threads": torch.get_num_threads()} | ({"note": options.note} if options.note else {})
    result = json.loads(options.json.read_text()) if options.only and options.json and options.json.exists() else {}
    if not options.only:
        timed = parts(RandomConvFeatures(256).prepared(images), len(images), options.gram_n)
        medians = {name: statistics.median(of) for name, of in measured(timed, options.repeats).items()}
        result |= {**about, "gram_n": options.gram_n, "seconds": medians}
        result |= {"in_order_over_ours": medians["in order"] / medians["features"]}
        result |= {"over_products": medians["features"] / medians["products"], "over_syrk": medians["gram"] / medians["syrk"], **machine}
    seconds = measured(few_parts(images, options.few), options.repeats)
    pairs = {recipe: zip(seconds[f"transform {recipe}"], seconds[f"bare {recipe}"], strict=True) for recipe in RECIPES}
    ratios = {recipe: statistics.median(one / other for one, other in both) for recipe, both in pairs.items()}
    medians = {name: statistics.median(of) for name, of in seconds.items()}
    result["transform"] = {**about, "few": options.few, "seconds": medians, "transform_over_bare": ratios, **machine}
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
