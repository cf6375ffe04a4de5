"""Documents of token ids as networks are given them: padded to one length, with a mask for a forward that takes one."""

import inspect

import torch
from torch import nn

from shattering.data.rows import Rows
from shattering.errors import InputError

MASKS = ("mask", "attention_mask")  # names of a forward's parameter that is given one


def padded(documents: Rows, padding: int, length: int = 0) -> torch.Tensor:
    """Return documents of several lengths as (n, longest) int64, filled up at their ends.

    Args:
        documents: lists of token ids.
        padding: what they are filled up with.
        length: the least that the result is long.

    Raises:
        InputError: where the padding is a token of a document.

    Example:
        >>> padded(Rows([[3, 4, 5], [6]]), padding=0)
        tensor([[3, 4, 5],
                [6, 0, 0]])
    """
    rows = [torch.tensor(row, dtype=torch.int64) for row in documents.content]
    largest = max((int(row.max()) for row in rows if len(row)), default=0)
    if any(bool((row == padding).any()) for row in rows):
        raise InputError(
            f"padding is {padding}, which is a token of the documents, expected a number that is none, such as padding={largest + 1}"
        )
    out = torch.full((len(rows), max(1, length, *(len(row) for row in rows))), padding, dtype=torch.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def vocabulary_of(*inputs: torch.Tensor | Rows | None) -> int:
    """Return the number of token ids 0…v-1 that are needed for all of these documents."""
    largest = 0
    for one in inputs:
        if isinstance(one, Rows):
            largest = max([largest, *(max(row) for row in one.content if len(row))])
        elif one is not None:
            largest = max(largest, int(one.max()))
    return largest + 1


def mask_name(module: nn.Module) -> str:
    """Return the name of the parameter of a module's forward that takes a mask; empty if there is none."""
    parameters = inspect.signature(module.forward).parameters
    return next((name for name in MASKS if name in parameters), "")
