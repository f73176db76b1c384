"""Phrases that readers stumbled over do not come back.

What to write in their place is in the glossary and in CONTRIBUTING.md.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = {".py", ".pyi", ".md", ".toml", ".yaml", ".js", ".html", ".css", ".proto", ""}
FOLDERS = (".ci", "docs", "proto/check.py", "proto/generate.py", "tests", "trio_dispatch")
OTHERS = "*.md", "*.toml", "Makefile", ".pre-commit-config.yaml"
PHRASES = re.compile(
    "|".join(
        (
            r"makes? no sense",
            r"whoever",
            r"nobody is told",
            r"what is told",
            r"(?-i:there (?:is|are) none)",
            r"(?-i:\bis none\b)",  # but not Python's `is None`
            r"\bis no (?:time|date|duration|url|json|id)\b",
            r"that lets? in",
            r"so many (?:times|seconds)",
            r"all is known",
            r"of one's own",
            r"puts? up with",
            r"comes? to be\b",
            r"to speak of",
            r"by the letter",
            r"how (?:it|things) stands?",
            r"short way",
            r"\b(?:unheard|unattended)\b",
            r"\bthe house\b",
        )
    ),
    re.IGNORECASE,
)


def files() -> list[Path]:
    found = [path for pattern in OTHERS for path in ROOT.glob(pattern)]
    for folder in FOLDERS:
        top = ROOT / folder
        found += top.rglob("*") if top.is_dir() else [top]
    return [
        path
        for path in found
        if path.is_file()
        and path.suffix in TEXT
        and not {"_generated", "_build", "__pycache__"} & set(path.parts)
        and path != Path(__file__)
    ]


def test_no_phrase_that_readers_stumbled_over() -> None:
    stumbling = []
    for path in files():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if found := PHRASES.search(line):
                stumbling.append(f"{path.relative_to(ROOT)}:{number}: {found[0]}")
    assert stumbling == []
