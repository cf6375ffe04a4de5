"""The names of the papers' experiments, in groups. Adding an experiment adds its file and its name here.

The file of an experiment has its name, with "_" for "-". It has a `TITLE`, a `PLACE` (in the papers, and the scale from which its claims
are verified), `specs(scale)`, which lists the runs it needs, and `result(scale, runs)`, which makes its tables, charts and claims from
them. If it needs a computation other than the training of a model, the file has that too, as a study; `shattering.runs.study.STUDIES` has
the names of studies.
"""

from shattering.errors import unknown

GROUPS = {  # name → title, experiments
    "all-cifar": (
        "The papers' CIFAR-10 experiments",
        ["table1", "figure1", "figure1a", "figure1b", "figure1c", "figure2b", "table4"],
    ),
    "all-linear": (
        "Section 5 of the papers: linear models and kernels",
        ["table3", "table3-conv", "norm", "gradient-descent", "hessian", "interpolators", "polynomial", "perceptron", "double-descent"],
    ),
    "all-capacity": (
        "Section 2.2 and theorem 1 of the papers: capacity and stability",
        ["theorem1", "corollary1", "rademacher", "stability"],
    ),
    "all-texts": (
        "What the papers say beside their tables and figures",
        [
            "inputs",
            "convex",
            "loss-class",
            "fat-shattering",
            "expressivity",
            "passes",
            "steps-bound",
            "perceptron-bound",
            "max-margin",
            "forgetting",
        ],
    ),
    "all-survey": (
        "The survey of the republication: measures of generalization, and double descent of networks",
        ["survey", "width-descent"],
    ),
    "all-imagenet": (
        "The papers' ImageNet experiments",
        ["table2", "figure2a"],
    ),
}
EXPERIMENTS = [name for _, names in GROUPS.values() for name in names]
NAMES = [*EXPERIMENTS, *GROUPS]


def find_experiments(name: str) -> list[str]:
    """List the experiments that a name stands for: those of a group, or the experiment itself.

    Raises:
        InputError: for an unknown name.

    Example:
        >>> find_experiments("all-imagenet")
        ['table2', 'figure2a']
    """
    if name in GROUPS:
        return GROUPS[name][1]
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, NAMES)
    return [name]
