"""Reading images from disk for training: against decoding alone, against the usual way, and within a limit of memory.

    python benchmarks/loader.py [--n 1000] [--size 299] [--repeats 3] [--memory 512 --times 50] [--json FILE]

Real photographs (`imagenet-sample` in SHATTERING_DATA), brought to squares of 299 pixels, in shuffled batches of 50:

  decode    `decode_square` on bytes that are in memory, one after the other, and nothing else: the decoder's own rate
  ours      `Loader` with one worker process, from the Parquet file
  files     the same from a folder of JPEG files
  field     what everyone writes: a torch Dataset that opens a file with Pillow, converts, resizes, crops and makes a float tensor, and a
            DataLoader with one worker process that collates them

Rates are images per second of processor time, of all processes together (that is: per core), so that other work on the machine
counts little; medians of interleaved repeats.

With --memory: a process that may not hold more than so many MiB of its own (RLIMIT_DATA; its workers each the same) trains for an
epoch through synthetic shards that would take --times as much decoded; its peak is reported.
"""

import argparse
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
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from shattering import NetworkClassifier, Randomization, load_dataset, randomize
from shattering.data import decode
from shattering.data.encoded import ImageFiles, ParquetRows
from shattering.data.loader import Loader
from shattering.data.on_disk import ImagesOnDisk
from shattering.runs.run import _processor

BATCH = 50
SHARD = 2000  # synthetic images in a shard


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


def of_loader(images: ImagesOnDisk, order: list[torch.Tensor]) -> int:
    loader = Loader(images, 1)
    return sum(len(batch) for batch in loader.batches(order))  # its worker ends with the batches


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
    field = lambda: DataLoader(Folder(files, size), BATCH, shuffle=True, num_workers=1)  # noqa: E731
    parts = {
        "decode": lambda: len([decode.decode_square(d, size) for d in data]),
        "ours": lambda: of_loader(ImagesOnDisk(rows, size, np.arange(n)), order),
        "files": lambda: of_loader(ImagesOnDisk(ImageFiles(folder, names), size), order),
        "field": lambda: sum(len(batch) for batch in field()),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            found[name].append(rate(part, n))
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


def write_shards(folder: Path, n: int, size: int) -> None:
    """As many shards as n images need; all are links to the same 2,000 images, which noise by example makes different ones."""
    generator = np.random.default_rng(0)
    encoded = []
    for _ in range(SHARD):
        out = io.BytesIO()
        coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((size + 21, size + 1), Image.Resampling.BICUBIC).save(out, "JPEG", quality=85)
        encoded.append({"bytes": out.getvalue(), "path": None})
    shards = -(-n // SHARD)
    first = folder / f"train-00000-of-{shards:05d}.parquet"
    labels = pa.array(generator.permutation(np.arange(SHARD) % 10))
    pq.write_table(pa.table({"image": encoded, "label": labels}), first, row_group_size=100)
    for shard in range(1, shards):
        os.link(first, folder / f"train-{shard:05d}-of-{shards:05d}.parquet")


def pooled(shape: tuple[int, ...], k: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(64 * shape[0], k))


def within_memory(folder: Path, size: int, limit: int, batch: int) -> dict:
    """In a process of its own: set the limit, train for an epoch."""
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    start = time.perf_counter()
    data = load_dataset(folder, image_size=size, hold_out=False)
    data = randomize(data, Randomization(1.0, "random"), seed=1)
    assert isinstance(data.train.images, ImagesOnDisk)
    learner = NetworkClassifier(pooled, epochs=1, batch_size=batch, learning_rate=0.01, device="cpu", workers=2).fit(data.train)
    ours = [u.ru_maxrss * 1024 for u in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))]
    return {
        "images": len(data.train),
        "decoded_bytes": data.train.images.nbytes,
        "limit_bytes": limit,
        "decoded_over_limit": data.train.images.nbytes / limit,
        "batch_size": batch,
        "peak_resident_bytes": ours[0],
        "peak_resident_bytes_of_a_worker": ours[1],
        "seconds": time.perf_counter() - start,
        "passes": 2,  # the epoch, and the evaluation at the end
        "train_loss": float(learner.history_["train_loss"][0]),
    }


def memory(size: int, limit: int, times: float, folder: Path, batch: int = 32) -> dict:
    n = int(times * limit / (3 * size * size)) + 1
    write_shards(folder, n, size)
    command = [sys.executable, __file__, "--child", str(folder), "--size", str(size), "--memory", str(limit >> 20), "--batch", str(batch)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--size", type=int, default=299)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=int, help="MiB")
    parser.add_argument("--times", type=float, default=50)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(within_memory(options.child, options.size, options.memory << 20, options.batch)))
        return
    result: dict = {}
    with tempfile.TemporaryDirectory() as folder:
        if options.memory:
            result["memory"] = memory(options.size, options.memory << 20, options.times, Path(folder), options.batch)
        else:
            result["throughput"] = throughput(options.n, options.size, options.repeats, Path(folder))
    result |= {"simplejpeg": decode.simplejpeg is not None, "torch": torch.__version__, "python": platform.python_version()}
    result |= {"processor": _processor(), "cores": os.cpu_count(), "load": os.getloadavg()[0], "repeats": options.repeats}
    print(json.dumps(result, indent=1))
    if options.json:
        earlier = json.loads(options.json.read_text()) if options.json.exists() else {}
        options.json.write_text(json.dumps({**earlier, **result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
