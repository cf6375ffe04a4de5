"""The command `interrogate`: a population of runs, and what its measures of generalization are worth."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from shattering.cli.common import Drawn, Swept, check_out, print_json, print_written, sweep_with_overview, where
from shattering.errors import InputError
from shattering.parameters import Count, split_list

if TYPE_CHECKING:
    from shattering.interrogate.population import PopulationScale
    from shattering.runs.store import Store
    from shattering.runs.stored import Run


@dataclass(frozen=True, kw_only=True)
class Interrogate(Drawn, Swept):
    """Do measures of generalization tell natural from random labels? Trains a population, measures it, and writes a page of verdicts.

    Examples:
        shattering interrogate
        shattering interrogate --measures n_parameters,log_path_norm
        shattering interrogate --from results --out measures.html
    """

    scale: Literal["demo", "small", "full"] | None = None
    """demo: digits, minutes. small: 1,000 CIFAR-10 images, two hours. full: all 50,000, for a GPU. Default: demo."""
    data: str | None = None
    """A name or a path in place of the scale's dataset."""
    measures: str | None = None
    """A comma list of names. Default: all."""
    jobs: Count | None = None
    """Runs at a time, each in its own process. Default: as many as cores; on Ray as many as fit."""
    from_: str | None = None
    """Judge the runs of this store, or the values that an interrogation has stored (a Parquet file), and train nothing."""
    out: Path = Path("measures.html")
    """The page to write."""

    def execute(self) -> int:
        from shattering.interrogate.population import find_scale
        from shattering.interrogate.result import interrogate, of_names
        from shattering.runs.store import Store
        from shattering.system.machine import usable_cores

        check_out(self.out)
        self.check_from(self.from_, "scale", "data")
        self.check_figures()
        names = None if self.measures is None else split_list(self.measures, "--measures")
        of_names(names or None)  # an unknown name is refused before hours of training
        scale = find_scale(self.scale or "demo")
        own = replace(scale, dataset=self.data or scale.dataset)
        judged = self._trained(own) if self.from_ is None else self._source(self.from_)
        found = interrogate(names, judged, jobs=self.jobs or usable_cores(), progress=True)
        found.to_html(self.out)
        written = self.write_figures(lambda: found.charts)
        if isinstance(judged, Store) and self.from_ is self.data is names is None:
            found.store(judged, scale.name)
        if self.json:
            print_json({**found.to_json(), "report": where(self.out), **written})
        else:
            print(found)
            print_written(self.out)
            self.print_figures(written)
        return 1 if found.why_blocked else 0

    @staticmethod
    def _source(from_: str) -> Store | Path:
        """Return what is to be judged. Raises InputError for what has neither runs nor values."""
        from shattering.interrogate.result import STORED_VALUES
        from shattering.runs.store import Store

        path = Path(os.path.expanduser(from_))
        if path.suffix == ".parquet" and path.is_file():
            return path
        store = None if path.is_file() else Store(from_)
        if store is None or not store.refresh():
            raise InputError(f"--from is {from_}, expected a folder of runs, or {STORED_VALUES}")
        return store

    def _trained(self, scale: PopulationScale) -> Store:
        """Run what is missing of a population, stage by stage, as each depends on what the ones before have reached. Returns its store."""
        from shattering.interrogate.population import STAGES
        from shattering.runs.store import Store
        from shattering.system.machine import usable_cores

        store = Store(self.store)
        jobs = usable_cores() if self.jobs is None and self.engine == "local" else self.jobs
        runs: list[Run] = []
        for stage in STAGES:
            done: Sequence[Run] = sweep_with_overview(stage(scale, runs), store, jobs, engine=self.chosen_engine())
            runs += done
        return store
