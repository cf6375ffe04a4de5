"""Sphinx configuration; the build is strict (`make docs`)."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the gallery's fits are too small for threads

import sys
from pathlib import Path

import shattering

sys.path.insert(0, str(Path(__file__).parent))  # for gallery_pictures
project = "shattering"
author = "The shattering developers"
copyright = "2026, The shattering developers"
version = release = shattering.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_parser", "sphinx_gallery.gen_gallery"]
default_role = "py:obj"  # single backquotes in docstrings
napoleon_numpy_docstring = False
exclude_patterns = ["_build", "gallery"]
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
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
