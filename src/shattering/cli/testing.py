"""The command `test`: the front door on the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from shattering.cli.common import Swept, check_out, print_json, print_written, where
from shattering.cli.options import Positional, Repeated
from shattering.parameters import Count, Natural, Range, split_list


@dataclass(frozen=True, kw_only=True)
class Test(Swept):
    """Would this model fit noise just as well, and does it learn anything? Writes an HTML report."""

    model: Positional[str]
    """file.py:name, package.module:name, or a name of `list models` or `list networks`."""
    data: str = "digits"
    """A name (see `list datasets`) or a path."""
    budget: str | None = None
    """Time it may take, e.g. 5min."""
    randomizations: str | None = None
    """A comma list, e.g. permuted-labels,gaussian-pixels."""
    n_permutations: Count = 19
    """Permutations of each permutation test."""
    folds: Annotated[int, Range(2)] | None = None
    """Cross-validate over so many folds."""
    scoring: str | None = None
    """One of scikit-learn's scorers, instead of accuracy."""
    set: Repeated = ()
    """A parameter of the model, as name=value."""
    inputs: Literal["auto", "table", "images"] = "auto"
    """What estimators are given."""
    start: Literal["reinitialized", "given"] | None = None
    """Of an instance of a torch module: draw its weights anew for every fit, or fine-tune from those it has. Default: reinitialized."""
    n_train: Count | None = None
    """Training examples, a class-balanced subset."""
    n_test: Count | None = None
    """Test examples, a class-balanced subset."""
    image_size: Count | None = None
    """Bring encoded images to squares of so many pixels."""
    skip_corrupt: bool = False
    """Leave out images that cannot be decoded."""
    channels: Literal["first", "last"] | None = None
    """Order of the axes in arrays of images. Default: by their lengths."""
    seed: Natural = 0
    """Seed of subset, randomizations, initialization and order."""
    jobs: Count | None = None
    """Fits at a time, each in a process of its own. Default: 1; on Ray as many as there is room for."""
    log: Repeated = ()
    """A logger, e.g. tensorboard:FOLDER."""
    out: Path = Path("report.html")
    """The report to write."""

    def execute(self) -> int:
        import warnings

        from rich.console import Console

        from shattering.compare.front import randomization_test
        from shattering.identity.digest import IdentityWarning
        from shattering.runs.grid import read_settings

        check_out(self.out)
        names = None if self.randomizations is None else split_list(self.randomizations, "--randomizations")
        same = ("n_permutations", "folds", "scoring", "inputs", "start", "n_train", "n_test", "seed", "budget", "jobs")
        same += ("image_size", "skip_corrupt", "channels")
        warnings.simplefilter("ignore", IdentityWarning)  # the result says the same
        test = randomization_test(
            self.model,
            self.data,
            randomizations=names,
            hyperparameters=read_settings(self.set),
            console=Console(stderr=True),
            engine=self.chosen_engine(),
            store=self.store,
            log=self.log,
            **{name: getattr(self, name) for name in same},
        )
        test.to_html(self.out)
        if self.json:
            print_json({**test.to_json(), "report": where(self.out)})
        else:
            print(test)
            print_written(self.out)
        return 1 if any(repeat.status == "failed" for repeat in test.repeats) else 0
