"""`Running`: what an epoch adds up on the way, and can go on from in its middle."""

import torch

from shattering.learners.train.ranks import Ranks
from shattering.learners.train.tracker import Tracker


class EpochTotals:
    """Sums over the part of an epoch that is done. It only reads, on the device.

    Args:
        begun: what `snapshot` gave, of an epoch to go on with; empty: a new epoch.
        rate: learning rate at the beginning of the epoch.
        device: where the network is.
        ranks: the processes that share each batch.
        tracker: of the training examples.
    """

    def __init__(self, begun: dict, rate: float, device: torch.device, ranks: Ranks, tracker: Tracker | None):
        self.device, self.ranks, self.tracker = device, ranks, tracker
        self.generators = begun.get("generators", {})
        self.rate = begun.get("rate", rate)
        self.batches = begun.get("batches", 0)
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        if begun and ranks.rank == 0:
            self.loss += begun["loss"].to(device)
            self.correct += begun["correct"].to(device)
        self.mine: list[torch.Tensor] = []

    def add(self, rows: torch.Tensor, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """A batch, or this process's part of one. rows, labels: (b,); loss: summed over them; logits: (b, classes)."""
        self.batches += 1
        self.loss += loss
        self.correct += (logits.argmax(1) == labels).sum()
        if self.tracker:
            self.tracker.record(rows, logits)
            if self.ranks.world > 1:
                self.mine.append(rows)

    def snapshot(self) -> dict:
        """All that a checkpoint must hold of the epoch beside the model, the optimizer and the tracker."""
        loss, correct = self._totals()
        generators = {"cpu": torch.get_rng_state()}
        if self.device.type in ("cuda", "mps"):
            generators["device"] = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else torch.mps.get_rng_state()
        return {"batches": self.batches, "rate": self.rate, "loss": loss.cpu(), "correct": correct.cpu(), "generators": generators}

    def restore_generators(self) -> None:
        """Have the randomness inside the network go on where it stood."""
        if "cpu" in self.generators:
            torch.set_rng_state(self.generators["cpu"])
        if "device" in self.generators and self.device.type == "cuda":
            torch.cuda.set_rng_state(self.generators["device"], self.device)
        elif "device" in self.generators and self.device.type == "mps":
            torch.mps.set_rng_state(self.generators["device"])

    def columns(self, n: int) -> dict:
        """Of the history, at the end of an epoch of n examples."""
        loss, correct = self._totals()
        tracked = self.tracker.end_epoch() if self.tracker else {}
        return {"train_loss": loss.item() / n, "train_accuracy": correct.item() / n, **tracked}

    def _totals(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums of loss and correct predictions over all processes; the tracker gets their records."""
        loss, correct = self.loss.clone(), self.correct.clone()
        self.ranks.total(loss, correct)
        if self.tracker and self.ranks.world > 1:
            self.tracker.gather(
                torch.cat(self.mine) if self.mine else torch.zeros(0, dtype=torch.int64, device=self.device), self.ranks.total
            )
        return loss, correct
