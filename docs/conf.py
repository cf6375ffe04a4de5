"""Sphinx configuration; the build is strict (`make docs`)."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the gallery's fits are too small for threads

import re
import sys
from pathlib import Path

from sphinx.ext.autosummary import autosummary_toc

import shattering

sys.path.insert(0, str(Path(__file__).parent))  # for gallery_pictures
project = "shattering"
author = "The shattering developers"
copyright = "2026, The shattering developers"
version = release = shattering.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "command_reference",
]
templates_path = ["_templates"]
default_role = "py:obj"  # single backquotes in docstrings
napoleon_numpy_docstring = False
exclude_patterns = ["_build", "_templates", "gallery"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("gallery_pictures.draw_chart",),
    "capture_repr": ("_repr_html_",),
    "reset_modules": (),
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
}
html_theme = "furo"
html_title = "shattering"
html_static_path = ["_static"]
html_js_files = ["accessible.js"]
html_css_files = ["style.css"]
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
autodoc_member_order = "bysource"


def skip_routing(app, what, name, obj, skip, options):
    """Leave out the methods `set_fit_request` and the like, which scikit-learn adds to every estimator."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def find_short_name(app, env, node, contnode):
    """Link a name in backquotes, such as `Run`, to its page in the reference, if exactly one object there has this name."""
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    found = [full for full, entry in domain.objects.items() if full.rpartition(".")[2] == node["reftarget"] and entry.objtype in KINDS]
    if len(found) != 1:
        return None
    node["reftarget"] = found[0]
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", found[0], node, contnode)


def name_ranges(app, what, name, obj, options, signature, returns):
    """Write the type alone in place of the type with its range, which the text of the parameter says."""
    return signature and re.sub(r"Annotated\[((?:[^\[\],]|\[[^\[\]]*\])+), [^\[\]]*\]", r"\1", signature), returns


def drop_contents(app, doctree):
    """Keep the pages of single names out of the navigation, which is written into every page."""
    for contents in list(doctree.findall(autosummary_toc)):
        contents.parent.remove(contents)


def share_navigation(app, pagename, templatename, context, doctree):
    """Render the navigation once for all pages of single names, experiments and code of one depth: none of them stands in it."""
    folder, *below = pagename.split("/")
    if below and folder in ("api", "results", "_modules") and "toctree" in context:
        render = context["toctree"]

        def shared(**options):
            key = folder, len(below), *sorted(options.items())
            if key not in NAVIGATION:
                NAVIGATION[key] = render(**options)
            return NAVIGATION[key]

        context["toctree"] = shared


KINDS = {"function", "class", "exception"}
NAVIGATION: dict = {}


def setup(app):
    app.connect("autodoc-process-signature", name_ranges)
    app.connect("doctree-read", drop_contents)
    app.connect("html-page-context", share_navigation, priority=100)  # before the theme's
    app.connect("autodoc-skip-member", skip_routing)
    app.connect("missing-reference", find_short_name)
