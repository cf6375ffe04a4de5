"""What the command line costs before it does anything: commands against an empty interpreter and one that imports torch.

    python benchmarks/startup.py [--store results] [--repeats 9] [--note TEXT] [--json FILE]

  help      `shattering --help`
  datasets  `shattering list datasets`
  status    `shattering status` of --store
  list      `shattering list measures`
  import    `python -c "import shattering"`
  pass      `python -c pass`: what any program in Python costs at least
  torch     `python -c "import torch"`: what any program that trains networks costs at least

Each is a process of its own; parts are interleaved. Times are of the processor, of these processes alone, medians in seconds; over_pass
and over_torch are medians of the ratios within a repeat, which other work on the machine disturbs least.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import torch

from shattering import Store
from shattering.runs.provenance import processor


def processor_seconds(command: list[str]) -> float:
    """Of a command and what it starts, in user code and in the kernel."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("results"))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--note", help="to be kept beside the figures, such as what else the machine did")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    ours = {
        "help": ["--help"],
        "datasets": ["list", "datasets"],
        "list": ["list", "measures"],
        "status": ["status", "--store", str(options.store)],
    }
    bare = {"pass": "pass", "torch": "import torch"}
    commands = {name: [sys.executable, "-m", "shattering", *arguments] for name, arguments in ours.items()}
    commands |= {name: [sys.executable, "-c", code] for name, code in {"import": "import shattering", **bare}.items()}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(options.repeats + 1):  # the first is not counted
        for name, command in commands.items():
            seconds[name].append(processor_seconds(command))
    seconds = {name: of[1:] for name, of in seconds.items()}
    result: dict = {"runs": len(Store(options.store).everything()), "repeats": options.repeats}
    result |= {"seconds": {name: statistics.median(of) for name, of in seconds.items()}}
    for other in bare:
        ratios = {name: [a / b for a, b in zip(seconds[name], seconds[other], strict=True)] for name in [*ours, "import"]}
        result[f"over_{other}"] = {name: statistics.median(of) for name, of in ratios.items()}
    result |= {"versions": {"torch": torch.__version__, "python": platform.python_version()}, "processor": processor()}
    result |= {"cores": os.cpu_count(), "load": os.getloadavg()[0]} | ({"note": options.note} if options.note else {})
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
