"""Sphinx configuration; the build is strict (`make docs`)."""

import shattering

project = "shattering"
author = "The shattering developers"
copyright = "2026, The shattering developers"
version = release = shattering.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_parser"]
napoleon_numpy_docstring = False
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "shattering"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
suppress_warnings = ["myst.xref_missing"]
