"""Inception V3: arithmetic per second of a training step against this machine's matrix product.

    python benchmarks/inception_v3.py [--side 299] [--batch 8] [--repeats 5] [--device cpu] [--precision float32] [--json FILE]

  product     of two square matrices, in the same precision: what the machine can do
  step        forward, backward and update on one fixed batch, in the memory format that training uses (channels last)
  contiguous  the same in torch's default format
  forward     evaluation mode, channels last

Operations are counted by torch (two a multiplication and addition, convolutions and products alone), so the share of
the product charges batch normalization, ReLU and pools to the network. Parts are interleaved; medians. The last figure
is what the training behind one row of table 2 would take of one such device at this rate, at full scale: 100 epochs of
1,281,167 images, without reading them, and without evaluations.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from shattering.experiments.reference import N_IMAGENET
from shattering.networks import build_network
from shattering.runs.provenance import processor

MATRIX = {"cpu": 3000, "cuda": 8192}
FULL = 100 * N_IMAGENET  # images of a row


def product(device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    n = MATRIX[device.type]
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    return lambda: a @ b


def passes(options: argparse.Namespace, memory_format: torch.memory_format) -> tuple[Callable[[], object], Callable[[], object]]:
    """A training step and a forward pass."""
    side, batch, device = options.side, options.batch, torch.device(options.device)
    module = build_network("inception-v3", (3, side, side), 1000, 0).to(device).to(memory_format=memory_format)  # type: ignore[call-overload]  # the stub lacks modules
    images = torch.randn(batch, 3, side, side, device=device).to(memory_format=memory_format)
    labels = torch.randint(1000, (batch,), device=device)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bfloat16")
    # the rate is 0: fitting one batch for long makes gradients denormal, and those are slow
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0, momentum=0.9, fused=True)

    def step() -> None:
        module.train()
        optimizer.zero_grad()
        with autocast:
            loss = F.cross_entropy(module(images), labels)
        loss.backward()
        optimizer.step()

    def forward() -> None:
        module.eval()
        with torch.no_grad(), autocast:
            module(images)

    return step, forward


def operations(part: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        part()
    return counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=299)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=list(MATRIX), default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    step, forward = passes(options, torch.channels_last)
    contiguous, _ = passes(options, torch.contiguous_format)
    dtype = torch.bfloat16 if options.precision == "bfloat16" else torch.float32
    parts = {"product": product(torch.device(options.device), dtype), "step": step, "contiguous": contiguous, "forward": forward}
    counted = {name: operations(part) for name, part in parts.items()}  # also warms up
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    wait = torch.cuda.synchronize if options.device == "cuda" else lambda: None
    for _ in range(options.repeats):
        for name, part in parts.items():
            wait()
            start = time.perf_counter()
            part()
            wait()
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    rate = {name: counted[name] / median[name] / 1e9 for name in parts}
    result = {
        "side": options.side,
        "batch": options.batch,
        "seconds": median,
        "gflop_per_second": rate,
        "gmac_per_image_forward": counted["forward"] / options.batch / 2e9,
        "images_per_second": options.batch / median["step"],
        "step_share_of_product": rate["step"] / rate["product"],
        "forward_share_of_product": rate["forward"] / rate["product"],
        "contiguous_over_channels_last": median["contiguous"] / median["step"],
        "device_hours_a_row_at_full_scale": FULL * median["step"] / options.batch / 3600,
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "precision": options.precision,
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
