"""Runs of which a store has several folders, such as copies, count once."""

import json
import warnings
from collections.abc import Sequence

from shattering.errors import counted, printable
from shattering.runs.stored import Found, Run, Unread, has_id


def each_once(found: Sequence[Found], where: str) -> list[Found]:
    """Return the runs of a store, each once, with a warning that names `where` and the folders of copies, which are left out.

    The id at the end of a folder's name tells runs apart. A folder without one, such as a copy, has the run of another folder if their
    specifications are equal, and their data where both are known. Of several, one that is done stays, rather one with an id.
    """
    ids = [run.run_id if has_id(run.folder) else "" for run in found]
    if all(ids) and len(set(ids)) == len(ids):
        return list(found)
    copies: dict[int, int] = {}  # place of a copy → of the run that stays
    with_spec: dict[str, list[int]] = {}  # places of those that stay
    with_id: dict[str, int] = {}
    for i in sorted(range(len(found)), key=lambda i: (found[i].status != "done", not ids[i])):
        alike = with_spec.setdefault(_spec_text(found[i]), [])
        twins = [j for j in alike if not (ids[i] and ids[j]) and _same_data(found[i], found[j])]
        twins = [with_id[ids[i]]] if ids[i] in with_id else twins
        if twins:
            copies[i] = twins[0]
            continue
        alike.append(i)
        with_id |= {ids[i]: i} if ids[i] else {}
    if copies:
        told = ", ".join(f"{found[i].folder.name} (of {found[j].folder.name})" for i, j in sorted(copies.items()))
        left_out = f"{where} has {counted(len(copies), 'folder')} left out as copies of runs, so that each run counts once: {told}"
        warnings.warn(printable(left_out), stacklevel=3)
    return [run for i, run in enumerate(found) if i not in copies]


def _spec_text(run: Found) -> str:
    """Return the specification as text; the path of a folder whose specification cannot be read."""
    if isinstance(run, Unread):
        return str(run.folder)
    return f"{type(run.spec).__name__} {json.dumps(run.spec.to_json(), sort_keys=True, default=str)}"


def _same_data(one: Found, other: Found) -> bool:
    """Return whether two runs may have the same data: False if both tell theirs, and they differ."""
    told = {run.provenance.get("dataset_fingerprint") for run in (one, other) if isinstance(run, Run)}
    return len(told - {None}) < 2
