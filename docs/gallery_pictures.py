"""Pictures for sphinx-gallery: an Altair chart that ends a block of code is drawn below it, as in a notebook."""

import ast
from pathlib import Path

import altair as alt
from sphinx_gallery.scrapers import figure_rst

from shattering.report.charts import save


def draw_chart(block, block_vars: dict, gallery_conf: dict) -> str:
    """Called after each block: reST that shows the chart that its last line evaluates to; empty if it does to none.

    The chart's description becomes the alternative text.
    """
    statements = ast.parse(block.content).body
    if not statements or not isinstance(statements[-1], ast.Expr):
        return ""
    chart = block_vars["example_globals"]["___"]  # where sphinx-gallery keeps the value of a last expression
    if not isinstance(chart, alt.TopLevelMixin):
        return ""
    path = save(chart, Path(next(block_vars["image_path_iterator"])))
    description = getattr(chart, "description", alt.Undefined)
    return figure_rst([path], gallery_conf["src_dir"], "" if description is alt.Undefined else description)
