"""What two processes train in `test_ranks`: python -m torch.distributed.run --nproc-per-node 2 two_ranks.py FOLDER."""

import hashlib
import json
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

from shattering import NetworkClassifier, Randomization, load_dataset, randomize
from shattering.data import formats
from shattering.learners.train.batches import Examples
from shattering.learners.train.ranks import Ranks, joined, synchronize_batch_norm
from shattering.networks import build_network
from tests.conftest import make_split

COMMON = {"epochs": 2, "learning_rate": 0.02, "device": "cpu", "random_state": 1, "workers": 1}


def cases(folder: Path) -> dict:
    """name → (model, data, what is seen of the images as they are read)."""
    formats.fits_into_memory = lambda _: False
    lazy = randomize(load_dataset(folder, image_size=12), Randomization(0.5, "random"), 1)
    held = type(lazy)(make_split(n=45, shape=(3, 12, 12)), make_split(n=16, shape=(3, 12, 12), seed=1))
    return {
        "mlp": (NetworkClassifier("mlp-1x16", batch_size=7, evaluate_train=True, **COMMON), lazy, _watch()),
        "tracked": (NetworkClassifier("mlp-1x16", batch_size=11, accumulate=2, track_examples=True, **COMMON), held, None),
        "inception": (NetworkClassifier("inception", batch_size=15, **{**COMMON, "epochs": 1}), held, None),
    }


def gradients(ranks: Ranks) -> dict[str, torch.Tensor]:
    """Of one batch of 7, in float64, for Inception with its batch normalization over all processes; and its buffers."""
    module = build_network("inception", (3, 8, 8), 4, 0).double()
    if ranks.world > 1:
        synchronize_batch_norm(module)
    model = ranks.wrap(module, torch.device("cpu"))
    rows = ranks.share(torch.arange(7))
    images = torch.randn(7, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (F.cross_entropy(model(images[rows]), rows % 4, reduction="sum") * ranks.world / 7).backward()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None} | dict(module.named_buffers())


def _watch() -> list:
    """Digests of the images of each batch, as they come from disk for training."""
    seen: list = []
    epoch = Examples.epoch

    def watched(self, number, batches):
        for rows, images in zip(batches, epoch(self, number, batches), strict=True):
            seen.extend(
                (number, int(row), hashlib.sha256(image.numpy().tobytes()).hexdigest()) for row, image in zip(rows, images, strict=True)
            )
            yield images

    Examples.epoch = watched
    return seen


def main() -> None:
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    with joined() as ranks:
        found = gradients(ranks)
        if ranks.rank == 0:
            torch.save(found, out / "gradients.pt")
        for name, (model, data, seen) in cases(out / "data").items():
            model.fit(data.train, test=data.test)
            if seen:
                (out / f"{name}-{ranks.rank}.json").write_text(json.dumps(seen))
            if ranks.rank == 0:
                model.history_.to_parquet(out / f"{name}.parquet")
                torch.save(model.module_.state_dict(), out / f"{name}.pt")
                if model.examples_ is not None:
                    model.examples_.to_parquet(out / f"{name}-examples.parquet")


if __name__ == "__main__":
    main()
