"""The kinds of inputs: what a row of them is, and the words that reports use for its parts."""

from typing import Literal

Kind = Literal["images", "table", "sequence", "tokens", "opaque"]
"""The kind of the inputs of a split:

- images: (n, channels, height, width), in memory or on disk.
- table: (n, features) of numbers, a DataFrame, or a sparse matrix: one row per example, one column per feature.
- sequence: (n, channels, length) of numbers, such as time series and signals.
- tokens: (n, length) whole numbers that stand for words or symbols, or lists of them of several lengths.
- opaque: anything else that rows can be taken of, such as texts, objects and graphs. It is handed on and never looked into.
"""
PARTS: dict[Kind, str] = {"images": "pixels", "table": "features", "sequence": "time steps", "tokens": "tokens", "opaque": "inputs"}
AXES: dict[Kind, tuple[str, ...]] = {
    "images": ("shuffled", "random", "gaussian", "within-class"),
    "table": ("shuffled", "random", "gaussian", "within-class", "columns"),
    "sequence": ("shuffled", "random", "gaussian", "within-class", "shifted"),
    "tokens": ("shuffled", "random", "uniform", "unigram"),
    "opaque": (),
}
"""Randomizations of the inputs that make sense for each kind, see `shattering.randomization.Randomization`."""
