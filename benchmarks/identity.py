"""What it costs to know what a run is: identities of folders and of objects, against a walk, reading and a bare hash.

    python benchmarks/identity.py [--images 4000] [--repeats 7] [--note TEXT] [--json FILE]

Folder: images of 8x8 pixels, PNG, in two class folders, made on the fly.

  walk      `os.walk` and the status of every file, and nothing else: what any answer about a folder of files costs at least
  read      the bytes of every file read once, and nothing else: what knowing their content costs at least
  first     `RunSpec(...).run_id` where nothing is known of the files: their bytes are read
  again     the same in a later call: one look at names, sizes and times
  within    the same within one call of `run`, `sweep` or `randomization_test`, where the files have been looked at

Test: `randomization_test` of naive Bayes on the folder, with 3 and with 9 permutations of labels. Counted: how often a run's
identity was asked for, which once was as many looks at the folder, and how often it was looked at: at the beginning, and once more after
the images have been loaded (which the second test need not do again).

Objects: `digest` of a network of 11 million parameters against SHA-256 of its bytes, and of a training function that reaches 200 functions
in 20 modules of the user's against compiling their source.

Times are of the processor, of this process alone, medians of interleaved repeats; the figures that count are ratios.
"""

import argparse
import hashlib
import importlib
import io
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from PIL import Image
from sklearn.naive_bayes import GaussianNB
from torch import nn

from shattering import RunSpec, randomization_test
from shattering.identity import files
from shattering.identity.digest import digest
from shattering.runs.provenance import processor

DRAWS = (3, 9)


def make_folder(folder: Path, n: int) -> Path:
    """n images in train and test folders of two classes."""
    generator = np.random.default_rng(0)
    for i in range(n):
        path = folder / ("test" if i % 5 == 0 else "train") / f"class{i // 5 % 2}" / f"{i:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (8, 8), np.uint8)).save(picture, "PNG")
        path.write_bytes(picture.getvalue())
    time.sleep(3)  # as files usually are, they have not been written just now
    return folder


def walk(folder: Path) -> int:
    return sum(os.stat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names)


def read(folder: Path) -> int:
    return sum(len(Path(place, name).read_bytes()) for place, _, names in os.walk(folder) for name in names)


def of_folder(folder: Path, repeats: int) -> dict:
    spec = RunSpec(str(folder), model="nearest-neighbors")

    def first() -> str:
        files._digests.clear()
        return spec.run_id

    def within() -> str:
        with files.read_once():
            known = spec.run_id
            start = time.process_time()
            assert spec.run_id == known
            inside.append(time.process_time() - start)
        return known

    inside: list[float] = []
    bare = {"walk": lambda: walk(folder), "read": lambda: read(folder)}
    seconds = medians(bare | {"first": first, "again": lambda: spec.run_id, "with a context": within}, repeats)
    seconds["within"] = statistics.median(inside)
    del seconds["with a context"]
    ours = [name for name in seconds if name not in bare]
    return {"seconds": seconds} | {f"over_{other}": {name: seconds[name] / seconds[other] for name in ours} for other in bare}


def of_test(folder: Path, n_permutations: int) -> dict:
    """What a whole test asks for, and looks at."""
    asked, looks, seconds = 0, 0, 0.0
    identity, look = RunSpec.identity, files._look

    def counted_identity(spec: RunSpec) -> dict:
        nonlocal asked
        asked += 1
        return identity(spec)

    def counted_look(path: Path) -> str:
        nonlocal looks, seconds
        looks += 1
        start = time.process_time()
        found = look(path)
        seconds += time.process_time() - start
        return found

    RunSpec.identity, files._look = counted_identity, counted_look
    start = time.process_time()
    try:
        randomization_test(GaussianNB(), str(folder), randomizations=["permuted-labels"], n_permutations=n_permutations)
    finally:
        RunSpec.identity, files._look = identity, look
    whole = time.process_time() - start
    return {"fits": 1 + n_permutations, "asked": asked, "looks": looks, "seconds": whole, "looks_share_of_time": seconds / whole}


def of_objects(folder: Path, repeats: int) -> dict:
    net = nn.Sequential(*(nn.Linear(1050, 1050) for _ in range(10)))
    state = [value.numpy() for value in net.state_dict().values()]
    sources, names = [], []
    for i in range(20):
        body = "\n".join(f"def f{j}(x):\n    y = [{j} * i + {i} for i in range(x)]\n    return sum(y) if x else None\n" for j in range(10))
        (folder / f"user_module_{i}.py").write_text(body)
        sources.append(body)
        names.append(f"user_module_{i}")
    calls = "\n".join(f"    user_module_{i}.f{j}(split)" for i in range(20) for j in range(10))
    main = "\n".join(f"import {name}" for name in names) + f"\ndef train(split, seed):\n{calls}\n"
    (folder / "user_main.py").write_text(main)
    sys.path.insert(0, str(folder))
    train = importlib.import_module("user_main").train

    def bare() -> None:
        hasher = hashlib.sha256()
        for array in state:
            hasher.update(np.ascontiguousarray(array).data)

    def forgetful() -> str:
        from shattering.identity.bytecode import read_code

        read_code.cache_clear()
        return digest(train)

    parts = {
        "network": lambda: digest(net),
        "bytes": bare,
        "function": forgetful,
        "compile": lambda: [compile(s, "m", "exec") for s in sources],
    }
    seconds = medians(parts, repeats)
    return {
        "parameters": sum(p.numel() for p in net.parameters()),
        "functions": 200,
        "seconds": seconds,
        "network_over_bytes": seconds["network"] / seconds["bytes"],
        "function_over_compile": seconds["function"] / seconds["compile"],
    }


def medians(parts: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of the processor of each part."""
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for part in parts.values():
        part()
    for _ in range(repeats):
        for name, part in parts.items():
            start = time.process_time()
            part()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--note", help="to be kept beside the figures, such as what else the machine did")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = make_folder(Path(place, "images"), given.images)
        found = {"images": given.images, "folder": of_folder(folder, given.repeats)}
        found["test"] = [of_test(folder, n) for n in DRAWS]
        found["objects"] = of_objects(Path(place), given.repeats)
    found |= {"repeats": given.repeats, "torch": torch.__version__, "python": platform.python_version(), "processor": processor()}
    found |= {"cores": os.cpu_count(), "load": os.getloadavg()[0]} | ({"note": given.note} if given.note else {})
    print(json.dumps(found, indent=1))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
