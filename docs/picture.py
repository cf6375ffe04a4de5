"""Redraw the picture of README and docs from the stored runs: `python docs/picture.py`."""

from pathlib import Path

import altair as alt
import vl_convert

from shattering import Store
from shattering.report import figures

HERE = Path(__file__).parent


def main() -> None:
    runs = [run for run in Store(HERE.parent / "results").runs() if run.spec.dataset == "digits"]
    charts = [figures.loss_curves(runs), figures.error_curves(runs)]
    spec = figures.to_spec(alt.hconcat(*charts, spacing=40).resolve_scale(color="independent"))
    (HERE / "images" / "demo.png").write_bytes(vl_convert.vegalite_to_png(spec, scale=1.5))


if __name__ == "__main__":
    main()
