"""The Gram matrix of random convolutional features, filter block by filter block: the features are never held together."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from shattering.errors import InputError
from shattering.features.random_conv import FILTERS, RECIPES, RandomConvFeatures
from shattering.linalg.stored import StoredGram, StoredProducts, stored_bytes
from shattering.system.machine import require_memory

_SAVE_EVERY = 300.0  # seconds


def gram_key(features: RandomConvFeatures, dtype: torch.dtype = torch.float32) -> str:
    """Return a key of what the blocks of fitted features depend on: images and their shape, hyperparameters, seed, type; not the number
    of filters."""
    images = hashlib.sha256(features.training_images_.numpy().data).hexdigest()
    numbers = [int(number) for number in (features.patch, features.n_patches, features.random_state, *features.image_shape_)]
    parts = [images, features.recipe, *numbers, FILTERS, str(dtype)]
    if features.recipe_ != RECIPES[features.recipe]:
        parts.append(f"standardize={features.standardize}")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def products_key(features: RandomConvFeatures, images: torch.Tensor) -> str:
    """Return a key of the products of these images' features with those of the training images. images: (m, d)."""
    new = hashlib.sha256(images.numpy().data).hexdigest()
    return hashlib.sha256(f"{gram_key(features)} {new}".encode()).hexdigest()[:16]


def gram_parts(features: RandomConvFeatures) -> list[tuple[int, int]]:
    """Return the blocks of filters as a stored Gram matrix names them: (number, filters)."""
    return [(number, int(piece.stop - piece.start)) for number, piece in enumerate(features.blocks())]


def gram_bytes(n: int, in_a_block: int, dtype: torch.dtype) -> int:
    """Return the bytes that `accumulate_gram` takes: the matrix, and a block of so many features, converted and centred."""
    return stored_bytes(n, dtype) + n * in_a_block * (4 * (dtype != torch.float32) + 2 * dtype.itemsize)


def accumulate_gram(
    features: RandomConvFeatures,
    path: str | Path | None = None,
    blocks: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    save_every: float = _SAVE_EVERY,
    say: Callable[[str], None] | None = None,
    memory_limit: float | None = None,
) -> StoredGram:
    """Compute Z Z' over the training images of fitted features (n, n), Z their features of all filters, or of some blocks.

    Memory: 2 n² bytes (4 n² in float64, for sums that keep small eigenvalues right), and a block of features.

    With a path, the sum so far is saved there (at least every `save_every` seconds, and at the end), and a later call goes
    on from it: after a kill, or with more filters. To spread the work, give each process or machine a path and some of
    the blocks, and add the files up with `merge_grams`.

    Raises:
        InputError: where the path holds blocks other than these, or something else; and where memory (at most memory_limit
            bytes of it) would not do, before any of it is taken.

    Example:
        >>> X = torch.rand(20, 256, generator=torch.Generator().manual_seed(0)).numpy()
        >>> features = RandomConvFeatures(n_filters=8, n_patches=500).fit(X)
        >>> accumulate_gram(features).n
        20
    """
    wanted = [part for part in gram_parts(features) if blocks is None or part[0] in blocks]
    path, key = Path(path) if path else None, gram_key(features, dtype)
    images = features.training_images_.flatten(1).to(device)
    needed = gram_bytes(len(images), features.block_width_, dtype)
    require_memory(needed, f"the Gram matrix of {len(images):,} images", "use fewer images", images.device, memory_limit)
    gram = StoredGram.load(path, key, device) if path and path.exists() else StoredGram.zeros(len(images), dtype, device)
    if extra := set(gram.parts) - set(wanted):
        raise InputError(f"{path} has filter block {min(extra)[0]}, which is not among those asked for; remove it, or name another file")
    saved = time.monotonic()
    for done, part in enumerate(wanted):
        if part in gram.parts:
            continue
        gram.add(part, features.scaled_block(part[0], images))
        last = len(gram.parts) == len(wanted)
        if say:
            say(f"Gram matrix: {done + 1} of {len(wanted)} blocks of filters")
        if path and (last or time.monotonic() - saved >= save_every):
            gram.save(path, key)
            saved = time.monotonic()
    return gram


def accumulate_products(
    features: RandomConvFeatures,
    images: torch.Tensor,
    path: str | Path | None = None,
    device: torch.device | str = "cpu",
    save_every: float = _SAVE_EVERY,
    say: Callable[[str], None] | None = None,
    memory_limit: float | None = None,
) -> StoredProducts:
    """Compute Z_new Z' of the features of new images and of the training images, filter block by filter block.

    Memory: 4 m n bytes, and a block of features of all images. With a path, the sum so far is saved there and a later call goes on from
    it, as with `accumulate_gram`.

    Args:
        features: fitted features; they are standardized by the training images where they are standardized.
        images: (m, c h w) float32 in 0…1.
        path: where the sum is saved; None: nowhere.
        device: what computes.
        save_every: seconds between two savings.
        say: called with what is being done.
        memory_limit: bytes that may be taken.

    Returns:
        The products (m, n) and the squared norms of the new images' features.

    Raises:
        InputError: where the path holds something else, and where memory would not do.

    Example:
        >>> X = torch.rand(20, 256, generator=torch.Generator().manual_seed(0)).numpy()
        >>> features = RandomConvFeatures(n_filters=8, n_patches=500).fit(X)
        >>> accumulate_products(features, torch.from_numpy(X[:3])).values.shape
        torch.Size([3, 20])
    """
    wanted, path, key = gram_parts(features), Path(path) if path else None, products_key(features, images)
    train, new = features.training_images_.flatten(1).to(device), images.to(device)
    needed = products_bytes(len(new), len(train), features.block_width_)
    require_memory(needed, f"the prediction of {len(new):,} images", "predict fewer at once", train.device, memory_limit)
    products = StoredProducts.load(path, key, device) if path and path.exists() else StoredProducts.zeros(len(new), len(train), device)
    if extra := set(products.parts) - set(wanted):
        raise InputError(f"{path} has filter block {min(extra)[0]}, which is not among those asked for; remove it, or name another file")
    saved = time.monotonic()
    for done, part in enumerate(wanted):
        if part in products.parts:
            continue
        of_train = features.scaled_block(part[0], train)  # first: new images are standardized as these are
        products.add(part, features.new_block(part[0], new), of_train)
        if say:
            say(f"products with new images: {done + 1} of {len(wanted)} blocks of filters")
        if path and (len(products.parts) == len(wanted) or time.monotonic() - saved >= save_every):
            products.save(path, key)
            saved = time.monotonic()
    return products


def products_bytes(m: int, n: int, in_a_block: int) -> int:
    """Return the bytes that `accumulate_products` takes: the products, and a block of so many features of all images."""
    return 4 * m * n + 4 * (m + n) * in_a_block


def merge_grams(
    paths: Sequence[str | Path], out: str | Path, features: RandomConvFeatures, dtype: torch.dtype = torch.float32
) -> StoredGram:
    """Add up files that `accumulate_gram` wrote for different blocks of the same features, into one. Raises InputError if they are not.

    Example:
        >>> X = torch.rand(20, 256, generator=torch.Generator().manual_seed(0)).numpy()
        >>> features = RandomConvFeatures(n_filters=8, n_patches=500).fit(X)
        >>> _ = accumulate_gram(features, "a.gram", blocks=[0])
        >>> merge_grams(["a.gram"], "all.gram", features).n
        20
    """
    key = gram_key(features, dtype)
    first, *rest = (Path(path) for path in paths)
    gram = StoredGram.load(first, key)
    for path in rest:
        gram.add_gram(StoredGram.load(path, key))
    gram.save(Path(out), key)
    return gram
