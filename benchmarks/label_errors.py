"""Finding planted label errors: one tracked training against cross-validated confidence (cleanlab).

    python benchmarks/label_errors.py [--seeds 0 1 2] [--choose 100] [--parts FOLDER] [--json FILE]

5,000 CIFAR-10 images, 10 % of whose labels are flipped to another class; who ranks the flipped ones first? (Needs
SHATTERING_DATA or a network, and `pip install cleanlab`.) small-cnn, batches of 128, learning rate 0.05, one thread.

  ours      one training on all images, ranked by the mean of the running losses, and by other things that it records
  cleanlab  probabilities from five trainings of the same network and hyperparameters, each on four fifths, of the fifth that it has
            not seen; ranked by cleanlab's label quality score (self-confidence), and what its find_label_issues returns

How long to train decides much: confidence is best before the network memorizes. So every epoch is scored, for both, and
each side is given the number of epochs that was best for it on a seed of its own, --choose, which is not reported; cleanlab is
shown at our number of epochs as well. Seconds are of the processor (its cores are shared): trainings up to that epoch.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import StratifiedKFold

from shattering import Dataset, NetworkClassifier, Randomization, load_dataset, randomize
from shattering.learners.train.tracker import Tracker
from shattering.measures.memorization import DIFFICULTIES, average_precision, label_error_ranking, memorization_start, peak, precision_at_k
from shattering.runs.provenance import processor

N, NOISE, FOLDS, EPOCHS = 5000, 0.1, 5, 16
RECIPE = {"network": "small-cnn", "epochs": EPOCHS, "batch_size": 128, "learning_rate": 0.05, "precision": "bfloat16", "device": "cpu"}
AT = (50, 100, 250, 500)
CONFIDENCE = "cleanlab, self-confidence"


def scores(ranking: pd.DataFrame) -> dict:
    return {**{f"precision at {k}": precision_at_k(ranking, k) for k in AT}, "average precision": average_precision(ranking)}


def ours(data: Dataset, seed: int, checkpoint: Path) -> dict:
    """Scores by what a tracked training records, after every epoch: read from its checkpoints."""
    train, table, scoring, clock = data.train, [], 0.0, time.process_time()

    def on_epoch(row: dict) -> None:
        nonlocal scoring
        start = time.process_time()
        tracker = Tracker(train.labels, train.true_labels, train.ids, "cpu")
        tracker.restore(torch.load(checkpoint, weights_only=True)["tracking"])
        examples = tracker.table(np.arange(train.n_classes))
        by = {name: scores(label_error_ranking(examples, name)) for name in DIFFICULTIES}
        table.append({"epoch": row["epoch"], "seconds": start - clock - scoring, **by})
        scoring += time.process_time() - start

    net = NetworkClassifier(**RECIPE, track_examples=True, checkpoint_every=0, random_state=seed)
    net.fit(train, checkpoint=checkpoint, on_epoch=on_epoch)
    start, best = memorization_start(net.history_), peak(net.history_)
    history = net.history_[["epoch", *(c for c in net.history_ if c.startswith(("clean", "corrupted")))]].to_dict("list")
    return {"epochs": table, "history": history, "start": vars(start) if start else None, "peak": vars(best) if best else None}


def crossed(data: Dataset, seed: int) -> list[dict]:
    """Scores by cleanlab from cross-validated probabilities, after every epoch."""
    train, labels = data.train, data.train.labels.numpy()
    probabilities, seconds = np.zeros((EPOCHS, N, train.n_classes)), np.zeros(EPOCHS)
    for seen, held in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels):
        part, rest = train.subset(torch.from_numpy(seen)), train.subset(torch.from_numpy(held))
        net, predicting, clock = NetworkClassifier(**RECIPE, random_state=seed), 0.0, time.process_time()

        def on_epoch(row: dict, net=net, held=held, rest=rest, clock=clock) -> None:
            nonlocal predicting
            start = time.process_time()
            probabilities[row["epoch"] - 1, held] = net.predict_proba(rest)
            end = time.process_time()
            seconds[row["epoch"] - 1] += end - clock - predicting  # the last prediction alone counts
            predicting += end - start

        net.fit(part, on_epoch=on_epoch)
    return [judged(data, labels, p, epoch, s) for epoch, (p, s) in enumerate(zip(probabilities, seconds.tolist(), strict=True), 1)]


def judged(data: Dataset, labels: np.ndarray, probabilities: np.ndarray, epoch: int, seconds: float) -> dict:
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    clock = time.process_time()
    quality = get_label_quality_scores(labels, probabilities, method="self_confidence")
    issues = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    seconds += time.process_time() - clock
    changed = (data.train.labels != data.train.true_labels).numpy()
    ranking = pd.DataFrame({"id": data.train.ids.numpy(), "changed": changed, "label_quality": quality})
    ranking = ranking.sort_values(["label_quality", "id"], ignore_index=True)
    hits = changed[issues]
    found = {"found": len(issues), "precision": float(hits.mean()), "recall": float(hits.sum() / changed.sum())}
    found |= {f"precision at {k}": float(hits[:k].mean()) if len(issues) >= k else None for k in AT}
    return {"epoch": epoch, "seconds": seconds, CONFIDENCE: scores(ranking), "find_label_issues": found}


def one_seed(seed: int, parts: Path | None) -> dict:
    """Both sides on a seed; kept in a file of `parts`, so that an interrupted benchmark goes on."""
    path = parts / f"seed{seed}.json" if parts else None
    if path and path.exists():
        return json.loads(path.read_text())
    data = load_dataset("cifar10", N, 10, seed)
    name, data = data.variant, randomize(data, Randomization(NOISE, label_mode="flip"), seed)
    changed = int((data.train.labels != data.train.true_labels).sum())
    with tempfile.TemporaryDirectory() as folder:
        mine = ours(data, seed, Path(folder) / "checkpoint.pt")
    result = {"seed": seed, "dataset": name, "changed": changed, "ours": mine, "cleanlab": crossed(data, seed)}
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result))
    return result


def overhead(repeats: int = 7) -> float:
    """Processor seconds of an epoch of the MLP 1x512, the cheapest network, with tracking over without; medians, interleaved."""
    train, seconds = load_dataset("cifar10", N, 10, 0).train, {False: [], True: []}
    for _ in range(repeats):
        for tracked, of in seconds.items():
            net, ends = NetworkClassifier("mlp-1x512", epochs=3, device="cpu", track_examples=tracked), []
            net.fit(train, on_epoch=lambda _, ends=ends: ends.append(time.process_time()))
            of.append((ends[-1] - ends[0]) / 2)
    return statistics.median(seconds[True]) / statistics.median(seconds[False])


def best_epoch(rows: list[dict], name: str) -> int:
    return max(rows, key=lambda row: row[name]["average precision"])["epoch"]


def spread(values: list[float]) -> dict:
    return {"mean": statistics.fmean(values), "low": min(values), "high": max(values)}


def row_of(results: list[dict], side: str, name: str, epoch: int) -> dict:
    """Means and ranges over seeds of a way to rank, after so many epochs."""
    rows = [(r["ours"]["epochs"] if side == "ours" else r["cleanlab"])[epoch - 1] for r in results]
    numbers = {key: spread([row[name][key] for row in rows]) for key in rows[0][name] if all(row[name][key] is not None for row in rows)}
    return {
        "by": name,
        "epochs": epoch,
        "trainings": 1 if side == "ours" else FOLDS,
        **numbers,
        "seconds": spread([r["seconds"] for r in rows]),
    }


def table(out: dict) -> str:
    """The rankings as a table in Markdown: means, and ranges over seeds."""
    kinds = [f"precision at {k}" for k in AT] + ["average precision"]
    head = ["ranked by", "trainings", "epochs", *kinds, "processor seconds"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in out["rankings"]:
        numbers = [f"{n['mean']:.2f} ({n['low']:.2f}–{n['high']:.2f})" if (n := row.get(kind)) else "–" for kind in kinds]
        seconds = row["seconds"]
        cells = [
            row["by"],
            row["trainings"],
            row["epochs"],
            *numbers,
            f"{seconds['mean']:.0f} ({seconds['low']:.0f}–{seconds['high']:.0f})",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def rankings(chosen: dict, results: list[dict]) -> list[dict]:
    """Every ranking after the epochs that were best for it on the chosen seed; some also after others, and at the end."""
    epochs = {name: best_epoch(chosen["ours"]["epochs"], name) for name in DIFFICULTIES}
    rows = [row_of(results, "ours", name, n) for name, n in epochs.items()]
    rows += [row_of(results, "ours", name, EPOCHS) for name in ("mean_loss", "final_loss") if epochs[name] != EPOCHS]
    theirs = dict.fromkeys((best_epoch(chosen["cleanlab"], CONFIDENCE), epochs["mean_loss"], EPOCHS))
    rows += [row_of(results, "cleanlab", CONFIDENCE, n) for n in theirs]
    return [*rows, row_of(results, "cleanlab", "find_label_issues", next(iter(theirs)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--choose", type=int, default=100)
    parser.add_argument("--parts", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = one_seed(options.choose, options.parts)
    results = [one_seed(seed, options.parts) for seed in options.seeds]
    out = {
        "dataset": results[0]["dataset"],
        "n": N,
        "changed": [r["changed"] for r in results],
        "hyperparameters": RECIPE,
        "seeds": options.seeds,
        "epochs_chosen_on_seed": options.choose,
        "rankings": rankings(chosen, results),
        "memorization": [{"seed": r["seed"], "start": r["ours"]["start"], "peak": r["ours"]["peak"]} for r in results],
        "tracked_over_untracked": overhead(),
        "cleanlab": version("cleanlab"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(out, indent=1), table(out), sep="\n")
    if options.json:
        options.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
