"""What a run imports late or works out once in a process; a server imports this before it forks workers."""

import importlib

import torch

from shattering.runs.provenance import provenance

for _name in ("torch._dynamo", "pyarrow.parquet", "sklearn.datasets", "PIL.PngImagePlugin"):
    importlib.import_module(_name)
provenance(torch.device("cpu"))
