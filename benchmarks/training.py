"""Cost of training: ours against what cannot be avoided, and against the field's usual loop.

    python benchmarks/training.py [--repeats 5] [--json FILE]

All in one run on synthetic images in CIFAR-10's shape, 28x28x3 after the crop. Each comparison interleaves its
parts and takes medians.

MLP 1x512, one epoch of 50,000 images, batch 128:
  bare        the five matrix products of forward and backward, and nothing else
  step        forward, backward and update on one fixed batch: what torch itself needs
  field       a torch Dataset with per-image transforms (PIL image, crop, tensor, whitening), a DataLoader (the faster
              of 0 and 2 workers), `.item()` every step
Small Inception, 12 steps of batch 128:
  bare        forward, backward and update on one fixed batch in the same memory format
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from shattering import NetworkClassifier, Split
from shattering.networks import CIFAR_SHAPE, build_network
from shattering.runs.provenance import processor

N, BATCH, STEPS = 50_000, 128, 12


def images(n: int) -> Split:
    generator = np.random.default_rng(0)
    pixels = torch.from_numpy(generator.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8))
    return Split(pixels, torch.from_numpy(generator.integers(0, 10, n)), tuple(map(str, range(10))))


def ours(network: str, split: Split) -> float:
    """Seconds of an epoch, as the history records them."""
    return NetworkClassifier(network, epochs=1, batch_size=BATCH, device="cpu").fit(split).history_["seconds"][0]


def bare_products() -> float:
    x, w1, w2 = torch.randn(BATCH, 2352), torch.randn(2352, 512), torch.randn(512, 10)
    h, g = torch.randn(BATCH, 512), torch.randn(BATCH, 10)
    start = time.perf_counter()
    for _ in range(-(-N // BATCH)):
        x @ w1
        h @ w2
        h.T @ g
        d = g @ w2.T
        x.T @ d
    return time.perf_counter() - start


class PerImage(Dataset):
    """What everyone writes."""

    def __init__(self, split: Split):
        self.images = split.inputs.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = split.labels.tolist()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = Image.fromarray(self.images[i]).crop((2, 2, 30, 30))
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
        return (tensor - tensor.mean()) / tensor.std().clamp(min=2352**-0.5), self.labels[i]


def field(split: Split, workers: int) -> float:
    model = build_network("mlp-1x512", CIFAR_SHAPE, 10, 0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    start = time.perf_counter()
    total, correct = 0.0, 0
    for batch, labels in DataLoader(PerImage(split), BATCH, shuffle=True, num_workers=workers):
        optimizer.zero_grad()
        logits = model(batch)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        total += loss.item()
        correct += (logits.argmax(1) == labels).sum().item()
    return time.perf_counter() - start


def fixed_batch(network: str, steps: int) -> float:
    model = build_network(network, CIFAR_SHAPE, 10, 0)
    batch = torch.randn(BATCH, *CIFAR_SHAPE)
    if network == "inception":
        model, batch = model.to(memory_format=torch.channels_last), batch.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks modules
    # the rate is 0: fitting one batch for long makes gradients denormal, and those are slow
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9, fused=True)
    labels = torch.randint(0, 10, (BATCH,))
    start = time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(batch), labels).backward()
        optimizer.step()
    return time.perf_counter() - start


def medians(parts: dict, repeats: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for part in parts.values():
        part()  # warm up
    for _ in range(repeats):
        for name, part in parts.items():
            seconds[name].append(part())
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    split, few = images(N), images(STEPS * BATCH)
    step = lambda: fixed_batch("mlp-1x512", -(-N // BATCH))  # noqa: E731
    mlp = medians({"ours": lambda: ours("mlp-1x512", split), "bare": bare_products, "step": step}, options.repeats)
    usual = {workers: medians({"field": lambda w=workers: field(split, w)}, max(1, options.repeats // 2))["field"] for workers in (0, 2)}
    workers, slow = min(usual.items(), key=lambda item: item[1])
    inception = medians({"ours": lambda: ours("inception", few), "bare": lambda: fixed_batch("inception", STEPS)}, options.repeats)
    result = {
        "mlp_1x512_epoch_seconds": {**mlp, "field": slow, "field_workers": workers},
        "mlp_ours_over_bare": mlp["ours"] / mlp["bare"],
        "mlp_ours_over_step": mlp["ours"] / mlp["step"],
        "mlp_field_over_ours": slow / mlp["ours"],
        "inception_12_steps_seconds": inception,
        "inception_ours_over_bare": inception["ours"] / inception["bare"],
        "repeats": options.repeats,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
