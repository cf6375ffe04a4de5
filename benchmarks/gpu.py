"""Training on one device: images per second, and how near that comes to what the device can do.

    python benchmarks/gpu.py [--device auto] [--precision bfloat16] [--steps 40] [--repeats 3] [--json FILE]

For each of the papers' networks on synthetic images in CIFAR-10's shape, batch 128, as `shattering paper --scale full`
trains it (on a GPU the convolutional ones compiled, where that is possible): the images per second of whole epochs after
the first, the FLOP/s they amount to (counted by torch in the forward pass, times three), and the share of the rate of a
large matrix product on the same device in the same precision, measured in the same run. Medians over the epochs.

Then the time that `shattering paper all-cifar --scale full` would take at these rates, one run after the other, without
evaluation, and, on a GPU, what four processes at once gain for MLP 1x512, which does not fill the card.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from shattering import NetworkClassifier, Split
from shattering.experiments.catalogue import find_experiments
from shattering.experiments.reference import MODEL_NAMES
from shattering.experiments.reproduce import can_compile, experiment_specs
from shattering.experiments.scales import CONVOLUTIONAL, SCALES
from shattering.learners.devices import resolve_device
from shattering.networks import CIFAR_SHAPE, build_network

BATCH = 128


def images(n: int) -> Split:
    generator = np.random.default_rng(0)
    pixels = torch.from_numpy(generator.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8))
    return Split(pixels, torch.from_numpy(generator.integers(0, 10, n)), tuple(map(str, range(10))))


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large square product, the best of five."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        for _ in range(4):
            a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 4 * 2 * n**3 / best


def flops_per_image(network: str) -> float:
    """Of forward and backward: three times the forward pass, counted on one image."""
    module = build_network(network, CIFAR_SHAPE, 10, 0).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, *CIFAR_SHAPE))
    return 3.0 * counter.get_total_flops()


def images_per_second(network: str, device: torch.device, precision: str, steps: int, repeats: int) -> float:
    compiled = device.type == "cuda" and network in CONVOLUTIONAL and can_compile()
    net = NetworkClassifier(network, epochs=repeats + 1, batch_size=BATCH, device=str(device), precision=precision, compile=compiled)
    seconds = net.fit(images(steps * BATCH)).history_["seconds"].iloc[1:]
    return steps * BATCH / statistics.median(seconds)


def together(processes: int, steps: int) -> float:
    """Seconds for this many processes that each train MLP 1x512, started at once."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import gpu; gpu.train_mlp({steps})"
    start = time.perf_counter()
    for process in [subprocess.Popen([sys.executable, "-c", code]) for _ in range(processes)]:
        if process.wait():
            raise SystemExit("a process of the benchmark failed")
    return time.perf_counter() - start


def train_mlp(steps: int) -> None:
    NetworkClassifier("mlp-1x512", epochs=20, batch_size=BATCH).fit(images(steps * BATCH))


def plan_minutes(rates: dict[str, float]) -> dict[str, float]:
    """Minutes of training of `all-cifar --scale full`, by network."""
    minutes: dict[str, float] = defaultdict(float)
    for spec in experiment_specs(find_experiments("all-cifar"), SCALES["full"]):
        n = (spec.n_train or 50_000) - (spec.n_validation or 0) * (spec.n_train is None)  # validation images are of those that are left
        minutes[spec.model_name] += spec.params["epochs"] * n / rates[spec.model_name] / 60  # type: ignore[operator]  # epochs is a number
    return dict(minutes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default=SCALES["full"].cifar.precision, help="of the convolutional networks")
    parser.add_argument("--steps", type=int, default=40, help="updates an epoch")
    parser.add_argument("--repeats", type=int, default=3, help="epochs to take the median of")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = resolve_device(options.device)
    peak = {name: matrix_rate(device, getattr(torch, name)) for name in {"float32", options.precision}}
    rows, rates = {}, {}
    for network in MODEL_NAMES:
        precision = options.precision if network in CONVOLUTIONAL else "float32"
        rates[network] = images_per_second(network, device, precision, options.steps, options.repeats)
        flops = rates[network] * flops_per_image(network)
        rows[network] = {
            "precision": precision,
            "images_per_second": rates[network],
            "tflops": flops / 1e12,
            "share_of_matrix_rate": flops / peak[precision],
        }
        print(f"{network:16} {precision:9} {rates[network]:10,.0f} images/s {flops / 1e12:8.3f} TFLOP/s {flops / peak[precision]:6.1%}")
    minutes = plan_minutes(rates)
    result = {
        "networks": rows,
        "matrix_tflops": {name: rate / 1e12 for name, rate in peak.items()},
        "plan_minutes": minutes,
        "plan_minutes_total": sum(minutes.values()),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or device.type,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "steps": options.steps,
        "repeats": options.repeats,
    }
    if device.type == "cuda":
        one, four = together(1, options.steps), together(4, options.steps)
        result["four_processes_over_one"] = 4 * one / four
        print(f"four processes at once do {4 * one / four:.2f} times the work of one")
    print(f"matrix product: {', '.join(f'{name} {rate / 1e12:.2f} TFLOP/s' for name, rate in peak.items())}")
    print(f"all-cifar --scale full: {sum(minutes.values()):,.0f} minutes of training, one run after the other, on {result['device']}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
