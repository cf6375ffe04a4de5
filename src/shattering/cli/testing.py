"""The command `test`: a randomization test on the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from shattering.cli.common import Drawn, Swept, check_out, print_json, print_written, where
from shattering.cli.options import Positional, Repeated
from shattering.parameters import Count, Natural, Range, split_list


@dataclass(frozen=True, kw_only=True)
class Test(Drawn, Swept):
    """Would this model fit noise just as well, and does it learn anything? Writes an HTML report.

    Examples:
        shattering test random-forest
        shattering test sklearn.svm:SVC --data digits --n-permutations 99
        shattering test model.py:build --data images --budget 5min
    """

    model: Positional[str]
    """file.py:name, package.module:name, or a name of `list models` or `list networks`."""
    data: str = "digits"
    """A name (see `list datasets`) or a path."""
    budget: str | None = None
    """Time that the test may take, e.g. 5min."""
    randomizations: str | None = None
    """A comma list, e.g. permuted-labels,gaussian-pixels."""
    n_permutations: Count = 19
    """Permutations of each permutation test."""
    exchange: Literal["free", "within", "whole", "shift"] | None = None
    """Permutations of the labels that are admissible. Default: by the groups."""
    stop_after: Count | None = None
    """Stop a permutation test at this number of permutations that are as good as the original data."""
    cv: Annotated[int, Range(2)] | None = None
    """Number of folds for cross-validation."""
    scoring: str | None = None
    """A scorer of scikit-learn, in place of accuracy."""
    set: Repeated = ()
    """A parameter of the model, as name=value."""
    inputs: Literal["auto", "table", "images"] = "auto"
    """Form of the data for estimators."""
    start: Literal["reinitialized", "given"] | None = None
    """Weights of a torch module that is an instance: drawn anew for every fit, or fine-tuned from its own. Default: reinitialized."""
    target: str | None = None
    """Column of labels, of a CSV or Parquet file of columns."""
    targets: Literal["classes", "numbers"] | None = None
    """The kind of the labels. Default: numbers for regressors, and where the labels have fractions."""
    groups: str | None = None
    """Column of values that are equal for examples that belong together."""
    n_train: Count | None = None
    """Training examples, a class-balanced subset."""
    n_test: Count | None = None
    """Test examples, a class-balanced subset."""
    image_size: Count | None = None
    """Side in pixels of the squares that encoded images are brought to."""
    skip_corrupt: bool = False
    """Leave out images that cannot be decoded."""
    channels: Literal["first", "last"] | None = None
    """Order of the axes in arrays of images. Default: by their lengths."""
    seed: Natural = 0
    """Seed of subset, randomizations, initialization and order."""
    jobs: Count | None = None
    """Fits at a time, each in its own process. Default: 1; on Ray as many as fit."""
    log: Repeated = ()
    """A logger, such as tensorboard:FOLDER."""
    out: Path = Path("report.html")
    """The report to write."""

    def execute(self) -> int:
        import warnings

        from shattering.compare.front import randomization_test
        from shattering.identity.digest import IdentityWarning
        from shattering.runs.grid import read_settings
        from shattering.runs.stored import UNREADABLE

        check_out(self.out)
        self.check_figures()
        names = None if self.randomizations is None else split_list(self.randomizations, "--randomizations")
        same = (
            "n_permutations",
            "exchange",
            "stop_after",
            "cv",
            "scoring",
            "inputs",
            "start",
            "n_train",
            "n_test",
            "seed",
            "budget",
            "jobs",
        )
        same += ("image_size", "skip_corrupt", "channels", "target", "targets", "groups")
        warnings.simplefilter("ignore", IdentityWarning)  # the result says the same
        test = randomization_test(
            self.model,
            self.data,
            randomizations=names,
            hyperparameters=read_settings(self.set),
            progress=True,
            engine=self.chosen_engine(),
            store=self.store,
            log=self.log,
            **{name: getattr(self, name) for name in same},
        )
        test.to_html(self.out)
        written = self.write_figures(lambda: test.charts)
        if self.json:
            print_json({**test.to_json(), "report": where(self.out), **written})
        else:
            print(test)
            print_written(self.out)
            self.print_figures(written)
        return 1 if any(one.status in ("failed", *UNREADABLE) for one in (*test.repeats, *test.batched)) else 0
