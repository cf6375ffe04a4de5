"""Import what a run imports late, and compute what it needs once per process. A server does this before it forks workers."""

import importlib

import torch

from shattering.runs.provenance import provenance

for _name in ("torch._dynamo", "pyarrow.parquet", "sklearn.datasets", "PIL.PngImagePlugin"):
    importlib.import_module(_name)
provenance(torch.device("cpu"))
