"""Configuration of the documentation."""

import zlib
from importlib.metadata import version as version_of
from pathlib import Path

project = "trio-dispatch"
author = "the trio-dispatch developers"
project_copyright = "2026, the trio-dispatch developers"
version = release = version_of("trio-dispatch")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinxcontrib_trio",
]
exclude_patterns = ["_build", "*-objects.txt"]
html_static_path = ["_static"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
# A name in single backticks becomes a link if Sphinx knows it.
default_role = "any"
# Several classes have an attribute of the same name, such as `type`.
suppress_warnings = ["ref.any", "ref.python"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True


def inventory(name: str) -> str:
    """Make an inventory of another project's names from a list, and return its path.

    Sphinx then needs no network to link to the documentation of that project.
    """
    here = Path(__file__).parent
    rows = [line.split() for line in (here / f"{name}-objects.txt").read_text().splitlines()]
    lines = "".join(f"{item} {kind} 1 {page}.html#$ -\n" for item, kind, page in rows)
    head = f"# Sphinx inventory version 2\n# Project: {name}\n# Version: \n# compressed by zlib\n"
    path = here / "_build" / f"{name}.inv"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(head.encode() + zlib.compress(lines.encode()))
    return str(path)


intersphinx_mapping = {
    "trio": ("https://trio.readthedocs.io/en/stable/", inventory("trio")),
}

html_theme = "furo"
html_title = f"trio-dispatch {release}"
