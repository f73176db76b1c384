"""Configuration of the documentation."""

import ast
import inspect
import textwrap
import zlib
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

project = "trio-dispatch"
author = "the trio-dispatch developers"
project_copyright = "2026, the trio-dispatch developers"
version = release = version_of("trio-dispatch")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
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
# `annotate_attributes` below does it, also for attributes that `__init__` sets.
napoleon_attr_annotations = False
# Of a block with prompts only the commands are copied.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"


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
html_css_files = ["custom.css"]
# "On this page" shows `receive`, not `Receiver.receive`, which does not fit.
toc_object_entries_show_parents = "hide"


def types_of_attributes(cls: type) -> dict[str, str]:
    """Return the types of the attributes of a class, as its source and that of its bases say."""
    types: dict[str, str] = {}
    for each in reversed(cls.__mro__[:-1]):
        try:
            (node,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        except (OSError, TypeError):  # a class without Python source
            continue
        arguments = {
            inner.arg: ast.unparse(inner.annotation)
            for inner in ast.walk(node)
            if isinstance(inner, ast.arg) and inner.annotation
        }
        for inner in ast.walk(node):
            match inner:
                case ast.AnnAssign(target=ast.Name(id=name) | ast.Attribute(attr=name)):
                    types[name] = ast.unparse(inner.annotation)
                case ast.Assign(targets=[ast.Attribute(attr=name)], value=ast.Name(id=argument)):
                    if argument in arguments:
                        types.setdefault(name, arguments[argument])
                case ast.Assign(targets=[ast.Attribute(attr=name)], value=ast.Call(func=made)):
                    if ast.unparse(made).rpartition(".")[2][0].isupper():  # a class
                        types.setdefault(name, ast.unparse(made))
                case ast.FunctionDef(name=name, returns=ast.expr() as returns):
                    if any(ast.unparse(each) == "property" for each in inner.decorator_list):
                        types[name] = ast.unparse(returns)
    return types


def annotate_attributes(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Add the types of attributes to what napoleon has made of a docstring."""
    if not isinstance(obj, type):
        return
    types = types_of_attributes(obj)
    for number in reversed(range(len(lines))):
        head, found, attributes = lines[number].partition(".. attribute:: ")
        if not found or head:
            continue
        attribute = attributes.partition(",")[0]
        if attribute in types:
            lines.insert(number + 1, f"   :type: {types[attribute]}")
        else:
            logging.getLogger(__name__).warning("%s.%s has no type", name, attribute)


def setup(app: Sphinx) -> None:
    """Register what this file adds."""
    app.connect("autodoc-process-docstring", annotate_attributes, priority=900)
