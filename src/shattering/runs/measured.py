"""A stored run as measures of generalization take it."""

from dataclasses import replace
from typing import Any

from shattering.errors import InputError
from shattering.learners.network import NetworkClassifier
from shattering.measures.fitted import Fitted
from shattering.measures.fitting import as_fitted
from shattering.runs.fit import load_data
from shattering.runs.objects import Objects
from shattering.runs.spec import RunSpec


def fitted_of(run: Any, objects: Objects | None = None) -> Fitted:
    """Return the network of a stored run, with the data that it was trained on and its history.

    Args:
        run: a `Run` of a model that is done.
        objects: the objects that its spec names: dataset and model.

    Raises:
        InputError: for a study, a run that is not done, and a model that is no network; if the data are no longer those of the run.
    """
    if not isinstance(run.spec, RunSpec):
        raise InputError(f"run {run.folder.name} is of a study, expected one of a network")
    if run.status != "done":
        raise InputError(f"run {run.folder.name} is {run.status}, expected one that is done")
    unfitted = run.spec.build(objects)
    if not isinstance(unfitted, NetworkClassifier):
        raise InputError(f"run {run.folder.name} is of the model {run.spec.model_name}, expected a network")
    data, fingerprint = load_data(run.spec, objects)
    if fingerprint != run.provenance["dataset_fingerprint"]:
        raise InputError(f"{run.spec.dataset_name} is not what run {run.folder.name} was trained on, expected the same data as then")
    examples = run.examples if unfitted.track_examples else None
    fitted = as_fitted(run.model(objects), data, history=run.history, examples=examples, seed=run.spec.seed)
    return replace(fitted, rate=float(run.history["learning_rate"].iloc[-1]))
