"""The files of the live page: what they must not contain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[2] / "trio_dispatch" / "web" / "static"
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|setHTML"
    r"|\beval\(|new Function\("
)


IMPORTS = re.compile(r'^(?:import|\}) .*?from "([^"]+)";', re.MULTILINE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(STATIC)))
def test_nothing_is_parsed_as_markup_or_loaded_from_elsewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not MARKUP.search(text)
    assert not re.findall(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[\w-]+\.\w+", text)


def test_the_page_has_neither_inline_scripts_nor_inline_styles() -> None:
    text = (STATIC / "index.html").read_text("utf-8")
    assert re.findall(r"<script[^>]*>[^<]*", text) == [
        '<script type="module" src="/static/app/main.js">'
    ]
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)


def test_modules_import_files_that_exist() -> None:
    for path in STATIC.rglob("*.js"):
        imports = re.findall(
            r'^(?:import|\}) .*?from "([^"]+)";', path.read_text("utf-8"), re.MULTILINE
        )
        for name in imports:
            assert (path.parent / name).is_file(), (path, name)
