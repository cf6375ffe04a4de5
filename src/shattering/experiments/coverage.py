"""What of the papers is reproduced: every row of their tables, every claim and every definition, with its command and its state.

The states follow from the stored runs, from the `PLACE` of each experiment, and from `ITEMS`, so that the page of the docs stays true.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from shattering.experiments.experiment import Column, Result, Table
from shattering.experiments.reproduce import find_experiment
from shattering.experiments.scales import SCALES
from shattering.experiments.scoreboard import Score, scores
from shattering.experiments.table3 import OURS

State = Literal["verified", "small n only", "open", "not run", "missing", "differs"]
AUDIT = {"verified": 39, "small n only": 31, "not run": 23, "missing": 22, "differs": 13}  # an audit of an earlier revision, 128 items
COLUMNS = (
    Column("place", "place"),
    Column("item", "item", "prose"),
    Column("command", "command"),
    Column("state", "state"),
    Column("why", "ours", "prose"),
)
TABLES = ("table1", "table2", "table3", "table4")  # each row of the first table is an item
LABELS: dict[str, tuple[str, ...]] = {  # the cells that name a row
    "table1": ("model", "labels", "random_crop", "weight_decay"),
    "table2": ("labels", "regularizers"),
    "table3": ("data", "model", "ridge"),
    "table4": ("model", "regularizer"),
}


@dataclass(frozen=True)
class Item:
    """Something that the papers say.

    Args:
        place: where they say it.
        item: what it is.
        command: what shows it; empty if nothing does.
        state: "verified": the rule is satisfied at a scale that suffices, or a test checks it; "small n only": judged, or left open,
            by runs that are smaller than the paper's; "open": judged by runs that are as large as it needs, and inconclusive; "not
            run": the command exists, and its runs are not stored; "missing": there is no command; "differs": ours is otherwise than
            the papers say.
        why: our numbers, or the reason.
    """

    place: str
    item: str
    command: str
    state: State
    why: str = ""


_TESTED = "a test"
ITEMS = (  # definitions that tests check, and what has no experiment
    *(
        Item("ICLR appendix A, figure 3", f"{name} has {count:,} parameters", _TESTED, "verified", "tests/networks/test_networks.py")
        for name, count in (
            ("small Inception", 1_649_402),
            ("small Inception without BatchNorm", 1_649_402),
            ("small AlexNet", 1_387_786),
            ("MLP 3x512", 1_735_178),
            ("MLP 1x512", 1_209_866),
            ("Inception V3", 23_834_568),
        )
    ),
    *(
        Item("ICLR 2.1", f"randomization: {name}", f"shattering run {option}".strip(), "verified", "tests/test_randomization.py")
        for name, option in (
            ("original labels", ""),
            ("partially corrupted labels", "--labels 0.5"),
            ("random labels", "--labels 1"),
            ("shuffled pixels", "--pixels shuffled"),
            ("random pixels", "--pixels random"),
            ("Gaussian", "--pixels gaussian"),
        )
    ),
    Item("ICLR 2.1", "random labels are the same in every epoch", _TESTED, "verified", "tests/test_randomization.py"),
    Item("ICLR appendix A", "pixels / 255, centre crop 28x28, each image whitened", _TESTED, "verified", "tests/data/test_preprocess.py"),
    Item("ICLR appendix A", "SGD with momentum 0.9", _TESTED, "verified", "tests/learners/train/test_loop.py"),
    Item("ICLR appendix A", "learning rate 0.1 or 0.01, decay 0.95 per epoch", _TESTED, "verified", "tests/learners/train/test_loop.py"),
    Item(
        "ICLR appendix A",
        "ImageNet: asynchronous SGD (tested with few workers)",
        _TESTED,
        "verified",
        "tests/learners/train/test_asynchronous.py",
    ),
    Item(
        "ICLR appendix A", "ImageNet: augmentation can be switched off", "shattering paper table2", "verified", "tests/data/test_augment.py"
    ),
    Item("ICLR appendix C, lemma 1", "the matrix has full rank; its smallest eigenvalue", _TESTED, "verified", "tests/relu/test_hinges.py"),
    Item("ICLR 3", "weight decay, the default coefficient", _TESTED, "differs", "5e-4; the paper does not give it"),
    Item("ICLR appendix A", "batch size", _TESTED, "differs", "128; the paper does not give it"),
    Item("ICLR figure 1b", "time to overfit", _TESTED, "differs", "95 % online accuracy; the paper does not define it"),
    Item("ICLR appendix A", "CIFAR-10 images", _TESTED, "differs", "stored runs are of images encoded once more as JPEG"),
    Item("ICLR 5", "the system of MNIST by LAPACK in float64, 30 GB", "shattering paper table3", "differs", "float32 and refinement, 9 GB"),
    Item("ICLR 5", "a kernel on a random conv-net with 32,000 filters", "", "missing", "up to 8,192; table3: 32,000, linear model"),
    Item("blog post", "the networks have no batch normalization", "", "differs", "the ICLR paper's Inception has it, and so has ours"),
    Item("ICLR 2.2", "fat-shattering bounds by l1 norms (Bartlett), for sigmoids", "", "missing", "it does not apply to ReLU networks"),
    Item("ICLR 3", "weight decay is a constraint of the weights to a ball", "", "missing", "a definition; not compared"),
    Item("blog post", "VGG fits random labels", "", "missing", "the ICLR paper has no VGG"),
    Item("ICLR 1", "depth separations at the population level", "", "missing", "cited, not claimed"),
    Item("CACM 6.1", "new test sets (Recht et al.)", "shattering retest", "not run", "a command without stored runs"),
    Item(
        "CACM 6.1", "measures of generalization: implicit regularization", "shattering interrogate", "small n only", "as margins and norms"
    ),
)


def coverage(results: Iterable[Result]) -> list[Item]:
    """List everything that the papers say, with its state.

    Args:
        results: of all experiments and scales, as `shattering.experiments.scoreboard.every_result` makes them.

    Returns:
        The rows of tables, then the claims, then definitions that tests check and what is missing.

    Example:
        >>> from shattering import Store
        >>> from shattering.experiments.scoreboard import every_result
        >>> [item.state for item in coverage(every_result(Store("runs"), ["polynomial"]))][0]
        'not run'
    """
    results = list(results)
    rows = [item for name in TABLES for item in _rows([result for result in results if result.name == name])]
    return [*rows, *map(_of_claim, scores(results)), *ITEMS]


def _rows(results: list[Result]) -> list[Item]:
    """Return the paper's rows of a table: at the largest scale where they have been run."""
    best: dict[int, Item] = {}
    for result in results:
        for number, row in enumerate(row for row in result.tables[0].rows if row["verdict"] != OURS):
            item = _of_row(result, row)
            if number not in best or item.state != "not run":
                best[number] = item
    return list(best.values())


def _of_row(result: Result, row: Mapping[str, Any]) -> Item:
    name = ", ".join(_cell(column, row[column]) for column in LABELS[result.name])
    verdict, (place, needed) = str(row["verdict"]), find_experiment(result.name).PLACE
    state: State
    if verdict == "missing" or verdict.startswith("not comparable"):
        state = "not run"
    elif result.scale != needed or "n = " in name:
        state = "small n only"
    elif verdict.startswith("inconclusive"):
        state = "open"
    else:
        state = "differs" if _otherwise(verdict) else "verified"
    return Item(f"{place}, a row", name, f"shattering paper {result.name} --scale full", state, f"{result.scale}: {verdict}")


def _cell(column: str, value: object) -> str:
    return f"{column.replace('_', ' ')} {value}" if column in ("random_crop", "weight_decay", "ridge", "regularizers") else str(value)


def _otherwise(verdict: str) -> bool:
    """Return whether a row's verdict differs from the paper's."""
    return "yes" in verdict.partition("(")[0] if "(paper: no)" in verdict else ": no" in verdict


def _of_claim(score: Score) -> Item:
    name, scale, verdict = score.result.name, score.result.scale, score.claim.verdict
    place, needed = find_experiment(name).PLACE
    order = list(SCALES)
    state: State
    if verdict in ("missing", "not comparable"):
        state = "not run"
    elif order.index(scale) < order.index(needed):
        state = "small n only"
    elif verdict == "inconclusive":
        state = "open"
    else:
        state = "verified" if verdict == "holds" or name == "survey" else "differs"  # what the survey's measures do, the papers only ask
    command = f"shattering {'interrogate' if name == 'survey' else f'paper {name}'} --scale {needed}"
    return Item(place, score.claim.name, command, state, f"{scale}: {score.claim.shown_verdict}")


def coverage_table(items: list[Item]) -> Table:
    """Return the table, with how many items have each state in its title and beside the audit's."""
    counts = Counter(item.state for item in items)
    title = f"{len(items)} items: " + ", ".join(f"{state} {counts[state]}" for state in get_args(State))
    audit = ", ".join(f"{state} {number}" for state, number in AUDIT.items())
    note = (
        f"An audit of an earlier revision counted {sum(AUDIT.values())} items by hand: {audit}. Its list is not kept; the items here are "
        "counted anew, from the rows of the papers' tables, the claims of the experiments, and the definitions that tests check. "
        "Open is what was judged by runs as large as it needs, and is inconclusive; the audit had no such state."
    )
    rows = [
        vars(item) | {"command": f"`{item.command}`" if item.command.startswith("shattering") else item.command or "–"} for item in items
    ]
    return Table(title, COLUMNS, rows, note)
