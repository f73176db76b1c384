"""How the documentation is built."""

from importlib.metadata import version as version_of

project = "trio-dispatch"
author = "the trio-dispatch developers"
project_copyright = "2026, the trio-dispatch developers"
version = release = version_of("trio-dispatch")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib_trio",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
# A name in single backticks is a link where there is something to link to.
default_role = "any"
suppress_warnings = ["ref.any"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True

html_theme = "furo"
html_title = f"trio-dispatch {release}"
