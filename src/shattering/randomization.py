"""Randomizations of a dataset (ICLR 2017, section 2.1; CACM 2021, section 2).

Two orthogonal axes, in the papers' words: `labels` (probability of corruption) and `pixels`. All noise is a pure function of
(seed, example id); that of the inputs is in `shattering.data.noise`. Torch is imported where labels are touched, so that a stored
specification is read without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from shattering import seeds
from shattering.brief import Brief
from shattering.data.exchange import Exchange, ExchangeFunction, exchanged_order, permuted_by, shown_exchange
from shattering.data.noise import InputNoise, Moments, Pixels
from shattering.errors import InputError, a_type, shown
from shattering.identity.names import is_object
from shattering.parameters import Limit, Natural, Range, check, check_fields

if TYPE_CHECKING:
    import torch

    from shattering.data.dataset import Dataset
    from shattering.data.split import Split

_TITLES = {
    "gaussian": "Gaussian pixels",
    "within-class": "pixels permuted within class",
    "columns": "permuted features",
    "uniform": "uniform tokens",
    "unigram": "tokens drawn by frequency",
}
LabelMode = Literal["redraw", "flip", "permute"]


class Named(Limit):
    """Names of objects in specifications."""

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and is_object(value)

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True, repr=False)
class Randomization(Brief):
    """A way to randomize data: the parts that are randomized, and how much.

    Args:
        labels: probability in 0…1 that a label is corrupted, independently for each example.
        pixels: "true"; "shuffled" (one random permutation of the pixel positions for all images, train and test);
            "random" (another permutation for each image); "gaussian" (independent normal pixels with the mean and
            the standard deviation that each channel has over the training images; not clipped); "within-class" (each
            pixel, or feature, is permuted among the examples of a class, in every split by itself: each pixel keeps its
            distribution within a class; the dependence between pixels is destroyed; Ojala and Garriga 2010, test 2). Each kind of
            inputs has its own words for pixels, and its own values, see `shattering.data.kinds.AXES`: of a table "columns" permutes
            each feature among all examples; of sequences pixels are time steps, and "shifted" rotates each by a random time; of tokens
            "shuffled" is one permutation of the positions, "random" another for each document, "uniform" draws each token from
            0 to the largest token of the training documents, and "unigram" from their tokens, by frequency.
        label_mode: what a corrupted label becomes: "redraw" (the papers': a uniform random class, perhaps the
            same, so about labels (1 - 1/k) of k-class labels change), "flip" (a uniform random other class), or
            "permute" (the corrupted labels are permuted among themselves, which keeps class counts). Targets of a regression are
            redrawn from the true targets, or permuted. Where no label is corrupted it says nothing, and is "redraw".
        permute_channels: permute all values of an image instead of keeping a pixel's channels together. Of "true" and "gaussian"
            pixels it says nothing, and is False.
        exchange: which permutations label_mode "permute" makes: "free" (any), "within" (inside each group of the split), "whole"
            (groups of one size exchange their complete label vectors), or "shift" (the labels of each group, or of all, are rolled);
            see `shattering.data.exchange`. Or the name of a function that permutes them, as `randomization_test` gives it. The last
            three are of all labels, labels = 1.

    Raises:
        InputError: for values out of range, and for an exchange that does not go with the other fields.

    Example:
        >>> Randomization(labels=0.5, pixels="shuffled").title
        '50% corrupted labels, shuffled pixels'
    """

    labels: Annotated[float, "a probability of corruption", Range(0, 1)] = 0.0
    pixels: Pixels = "true"
    label_mode: LabelMode = "redraw"
    permute_channels: bool = False
    exchange: Exchange | Annotated[str, "a function given to randomization_test", Named()] = "free"

    def __post_init__(self):
        check_fields(self)
        object.__setattr__(self, "labels", float(self.labels))
        object.__setattr__(self, "permute_channels", bool(self.permute_channels))
        if self.exchange != "free" and (self.label_mode != "permute" or not self.labels):
            beside = f"label_mode {self.label_mode!r} and labels {self.labels:g}"
            raise InputError(f"exchange is {self.exchange!r} beside {beside}, expected label_mode 'permute' and labels above 0")
        if self.exchange not in ("free", "within") and self.labels < 1:
            raise InputError(
                f"exchange is {self.exchange!r} and labels is {self.labels:g}, expected 1: it exchanges complete label vectors"
            )
        if not self.labels:  # so that equal randomizations are equal
            object.__setattr__(self, "label_mode", "redraw")
        if self.pixels in ("true", "gaussian"):
            object.__setattr__(self, "permute_channels", False)

    @property
    def title(self) -> str:
        """The name in the papers' words, e.g. "random labels", "50% corrupted labels, shuffled pixels"."""
        permuted = {"free": "permuted", "within": "permuted within groups", "whole": "exchanged between groups", "shift": "shifted"}
        how = permuted.get(self.exchange) or f"permuted by {shown_exchange(self.exchange)}"
        kind = {"redraw": "", "flip": " (flipped)", "permute": f" ({how})"}[self.label_mode] if self.labels else ""
        words = []
        if self.labels == 1:
            words.append(f"random labels{kind}")
        elif self.labels:
            words.append(f"{100 * self.labels:.4g}% corrupted labels{kind}")
        if self.pixels != "true":
            words.append(_TITLES.get(self.pixels, f"{self.pixels} pixels"))
        return ", ".join(words) or "original data"

    def corrupt(self, split: Split, seed: int, part: str, function: ExchangeFunction | None = None) -> torch.Tensor:
        """Return the corrupted labels (n,) of a split, always made from its true labels.

        Args:
            split: the examples.
            seed: seed of the noise.
            part: "train" or "test".
            function: what `exchange` names, if that is a function.

        Raises:
            InputError: for targets of a regression that are to be flipped, for ids that repeat where labels are to be permuted, for a
                split without the groups that `exchange` needs, and for a function that is not there or does not permute labels.
        """
        import torch

        true = split.true_labels.numpy()
        if not self.labels:
            return split.true_labels
        if is_object(self.exchange):
            return self._by_function(split, seed, part, function)
        words = seeds.words(seed, f"labels/{part}", split.ids.numpy())
        corrupted = seeds.uniform(words[:, 0]) < self.labels
        k = split.n_classes
        if split.is_regression and self.label_mode == "flip":
            raise InputError("label_mode is 'flip' and the labels are numbers, which have no other class, expected 'permute' or 'redraw'")
        if self.label_mode == "redraw" and split.is_regression:
            new = true[(words[:, 1] % np.uint64(len(true))).astype(np.int64)]
        elif self.label_mode == "redraw":
            new = (words[:, 1] % np.uint64(k)).astype(np.int64)
        elif self.label_mode == "flip":
            new = (true + 1 + (words[:, 1] % np.uint64(k - 1)).astype(np.int64)) % k
        else:
            if len(np.unique(split.ids.numpy())) < len(split):
                raise InputError("ids repeat, expected one an example: labels are permuted by what is drawn for each id")
            rows = np.flatnonzero(corrupted)
            new = true.copy()
            groups = None if split.group_codes is None else split.group_codes[rows]
            new[rows] = true[rows[exchanged_order(self.exchange, words[rows, 2], groups, split.ids.numpy()[rows])]]
        return torch.from_numpy(np.where(corrupted, new, true))

    def _by_function(self, split: Split, seed: int, part: str, function: ExchangeFunction | None) -> torch.Tensor:
        """Return the labels (n,) as a function permutes them that sees the user's own values."""
        import torch

        if function is None:
            raise InputError(f"exchange is the name of {shown_exchange(self.exchange)}, expected that function beside it")
        labels = replace(split, labels=split.true_labels).y
        permuted = permuted_by(function, labels, seeds.generator(seed, f"exchange/{part}"))
        return torch.from_numpy(permuted if split.is_regression else np.searchsorted(split.label_values, permuted))

    def input_noise(self, seed: int, part: str, moments: Moments) -> InputNoise:
        """Return the noise of the inputs of a split. part: "train" or "test". moments: of the training inputs."""
        return InputNoise(self.pixels, self.permute_channels, seed, part, moments)


def randomize(dataset: Dataset, randomization: Randomization, seed: Natural = 0, function: ExchangeFunction | None = None) -> Dataset:
    """Return a randomized copy: inputs of all splits, labels of the train and validation splits; test labels stay true.

    The validation split was held out of the train split, and has its noise. The moments for Gaussian pixels are those of
    the given train split.

    Args:
        dataset: the original data.
        randomization: what to randomize, and how much.
        seed: seed of the noise.
        function: what `randomization.exchange` names, if that is a function.

    Raises:
        InputError: for what is no Dataset or no Randomization, one that its inputs or labels do not allow, and for a bad seed.

    Example:
        >>> from shattering import load_dataset
        >>> noisy = randomize(load_dataset("digits"), Randomization(labels=1.0), seed=1)
        >>> len(noisy.train) == len(load_dataset("digits").train)
        True
    """
    from shattering.data.dataset import Dataset
    from shattering.data.kinds import AXES

    if not isinstance(dataset, Dataset):
        raise InputError(f"dataset is {a_type(dataset)}, expected a Dataset: load_dataset of it")
    if not isinstance(randomization, Randomization):
        raise InputError(f"randomization is {shown(randomization)}, expected a Randomization, such as Randomization(labels=1.0)")
    check("seed", seed, Natural)
    r, train, test = randomization, dataset.train, dataset.test
    drawn = r.pixels == "gaussian" and "gaussian" in AXES[train.kind]
    moments = Moments.of(train.inputs) if drawn else Moments(_shape(train), np.zeros(1), np.zeros(1))

    noise = r.input_noise(seed, "train", moments)

    def randomized(split: Split) -> Split:
        return replace(split, inputs=noise.of(split), labels=r.corrupt(split, seed, "train", function))

    return replace(
        dataset,
        train=randomized(train),
        validation=randomized(dataset.validation) if dataset.validation else None,
        test=replace(test, inputs=r.input_noise(seed, "test", moments).of(test, train)),
    )


def _shape(split: Split) -> tuple[int, ...]:
    return (1, *split.input_shape) if split.kind == "table" else split.input_shape
