"""Reading images from disk for training: against decoding alone, against the usual way, and within a limit of memory.

    python benchmarks/loader.py [--n 1000] [--size 299] [--repeats 3] [--memory 1024 --times 50] [--json FILE]

Real photographs (`imagenet-sample` in SHATTERING_DATA), brought to squares of 299 pixels, in shuffled batches of 50:

  decode    `decode_square` on bytes that are in memory, one after the other, and nothing else: the decoder's own rate
  ours      `Loader` with one worker process, from the Parquet file
  files     the same from a folder of JPEG files
  field     what everyone writes: a torch Dataset that opens a file with Pillow, converts, resizes, crops and makes a float tensor, and a
            DataLoader with one worker process that collates them

Rates are images per second of processor time, of all processes together (that is: per core), so that other work on the machine
counts little; medians of interleaved repeats.

With --memory: a process that may not have more than so many MiB of its own (RLIMIT_DATA; each of its two workers the same) trains for
an epoch, and evaluates, on synthetic JPEGs in Parquet shards that would take as much as the limit, and --times as much, if they
were held decoded (as uint8). Every image is read and decoded whole; the network, a linear one, sees its central 32x32. Peaks are sums
over the three processes, memory that they share counted once. On top of what the libraries take come the encoded row groups that each
worker keeps: at most 256 MiB, so all of the smallest set, which is why that one may take less.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from shattering import NetworkClassifier, Randomization, load_dataset, randomize
from shattering.data import decode
from shattering.data.encoded import ImageFiles, ParquetRows
from shattering.data.lazy import ImagesOnDisk
from shattering.data.loader import Loader
from shattering.runs.provenance import processor

BATCH = 50
PASSES = 2  # through the images, with the same worker
SHARD = 500  # synthetic images in a shard


class Folder(Dataset):
    """What everyone writes."""

    def __init__(self, files: list[str], size: int):
        self.files, self.size = files, size

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        with open(self.files[i], "rb") as file:
            image = Image.open(file).convert("RGB")
        scale = self.size / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (image.width - self.size) // 2, (image.height - self.size) // 2
        image = image.crop((left, top, left + self.size, top + self.size))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)


def cpu_seconds() -> float:
    """Of this process and its ended children."""
    return sum(u.ru_utime + u.ru_stime for u in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)))


def rate(read, n: int) -> tuple[float, float]:
    """Images per second of processor time, and of the clock."""
    cpu, clock = cpu_seconds(), time.perf_counter()
    assert read() == n
    return n / (cpu_seconds() - cpu), n / (time.perf_counter() - clock)


def of_decoder(data: list[bytes], size: int) -> int:
    for encoded in data:
        decode.decode_square(encoded, size)
    return len(data)


def of_loader(images: ImagesOnDisk, order: list[torch.Tensor]) -> int:
    return sum(len(batch) for batch in Loader(images, 1).batches(order))  # its worker ends with the batches


def of_field(files: list[str], size: int) -> int:
    loader = DataLoader(Folder(files, size), BATCH, shuffle=True, num_workers=1)
    return sum(len(batch) for batch in loader)


def throughput(n: int, size: int, repeats: int, folder: Path) -> dict:
    source = Path(os.environ["SHATTERING_DATA"], "imagenet-sample", "train-00000-of-00001.parquet")
    rows = ParquetRows.of([source], "image.bytes")
    column = pq.read_table(source, columns=["image"])["image"].combine_chunks().field("bytes").slice(0, n)
    data = column.to_pylist()
    for i, encoded in enumerate(data):
        (folder / f"{i:05d}.jpg").write_bytes(encoded)
    names = np.array([f"{i:05d}.jpg".encode() for i in range(n)])
    order = list(torch.randperm(n, generator=torch.Generator().manual_seed(0)).split(BATCH))
    files = [str(folder / f"{i:05d}.jpg") for i in range(n)]
    parts = {
        "decode": lambda: of_decoder(data * PASSES, size),
        "ours": lambda: of_loader(ImagesOnDisk(rows, size, np.arange(n)), order * PASSES),
        "files": lambda: of_loader(ImagesOnDisk(ImageFiles(folder, names), size), order * PASSES),
        "field": lambda: of_field(files * PASSES, size),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            found[name].append(rate(part, n * PASSES))
    per_core = {name: statistics.median(cpu for cpu, _ in values) for name, values in found.items()}
    return {
        "images": n,
        "size": size,
        "images_per_second_of_a_core": per_core,
        "images_per_second_of_the_clock": {name: statistics.median(clock for _, clock in values) for name, values in found.items()},
        "ours_over_decode": per_core["ours"] / per_core["decode"],
        "files_over_decode": per_core["files"] / per_core["decode"],
        "ours_over_field": per_core["ours"] / per_core["field"],
    }


def write_shards(folder: Path, n: int, size: int) -> int:
    """As many shards as n images need; all are links to the same images, which the loader does not know. Returns their encoded bytes."""
    generator = np.random.default_rng(0)
    encoded = []
    for _ in range(SHARD):
        out = io.BytesIO()
        coarse = Image.fromarray(generator.integers(0, 256, (size // 12, size // 12, 3), dtype=np.uint8))
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(out, "JPEG", quality=85)
        encoded.append({"bytes": out.getvalue(), "path": None})
    shards = -(-n // SHARD)
    first = folder / f"train-00000-of-{shards:05d}.parquet"
    labels = pa.array(generator.permutation(np.arange(SHARD) % 10))
    pq.write_table(pa.table({"image": encoded, "label": labels}), first, row_group_size=100)
    for shard in range(1, shards):
        os.link(first, folder / f"train-{shard:05d}-of-{shards:05d}.parquet")
    return shards * sum(len(image["bytes"]) for image in encoded)


def linear(shape: tuple[int, ...], k: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), k))


def within_memory(folder: Path, size: int, limit: int) -> dict:
    """In a process of its own: set the limit, train for an epoch."""
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    start = time.perf_counter()
    data = randomize(load_dataset(folder, image_size=size, hold_out=False), Randomization(1.0), seed=1)
    assert isinstance(data.train.inputs, ImagesOnDisk)
    model = NetworkClassifier(linear, epochs=1, batch_size=64, crop=32, learning_rate=0.01, device="cpu", workers=2).fit(data.train)
    return {
        "images": len(data.train),
        "decoded_bytes": data.train.inputs.nbytes,
        "decoded_over_limit": data.train.inputs.nbytes / limit,
        "seconds": time.perf_counter() - start,
        "train_loss": float(model.history_["train_loss"][0]),
    }


def proportional(process: psutil.Process) -> int:
    """Bytes in memory, those shared with other processes divided among them; 0 for one that has ended."""
    try:
        return process.memory_full_info().pss
    except psutil.Error:
        return 0


def watched(command: list[str]) -> dict:
    """What the command prints, and the peaks of memory of its process and all below it, looked at four times a second."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    together = largest = 0
    while child.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            whole = psutil.Process(child.pid)
            sizes = [proportional(process) for process in (whole, *whole.children(recursive=True))]
            together, largest = max(together, sum(sizes)), max(largest, *sizes)
        time.sleep(0.25)
    if child.returncode or child.stdout is None:
        raise SystemExit(f"the training within the limit ended with exit code {child.returncode}")
    found = json.loads(child.stdout.read().splitlines()[-1])
    return found | {"peak_bytes_of_all_processes": together, "peak_bytes_of_the_largest": largest}


def memory(size: int, limit: int, times: float, folder: Path) -> dict:
    rows = []
    for part in (1.0, times):
        below = folder / f"{part:g}"
        below.mkdir()
        encoded = write_shards(below, int(part * limit / (3 * size * size)) + 1, size)
        command = [sys.executable, __file__, "--child", str(below), "--size", str(size), "--memory", str(limit >> 20)]
        rows.append(watched(command) | {"encoded_bytes": encoded})
        print(
            "{images:7,d} images, {decoded_over_limit:5.1f} times the limit: peak {mib:.0f} MiB, {seconds:.0f} s".format(
                **rows[-1], mib=rows[-1]["peak_bytes_of_all_processes"] / 2**20
            ),
            file=sys.stderr,
        )
    return {"limit_bytes_of_each_process": limit, "size": size, "batch_size": 64, "workers": 2, "passes": 2, "sets": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--size", type=int, default=299)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=int, help="MiB")
    parser.add_argument("--times", type=float, default=50)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(within_memory(options.child, options.size, options.memory << 20)))
        return
    result: dict = {}
    with tempfile.TemporaryDirectory() as folder:
        if options.memory:
            result["memory"] = memory(options.size, options.memory << 20, options.times, Path(folder))
        else:
            result["throughput"] = throughput(options.n, options.size, options.repeats, Path(folder))
    result |= {"simplejpeg": decode.simplejpeg is not None, "torch": torch.__version__, "python": platform.python_version()}
    result |= {"processor": processor(), "cores": os.cpu_count(), "load": os.getloadavg()[0], "repeats": options.repeats}
    print(json.dumps(result, indent=1))
    if options.json:
        earlier = json.loads(options.json.read_text()) if options.json.exists() else {}
        options.json.write_text(json.dumps({**earlier, **result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
