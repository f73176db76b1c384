"""What a wheel requires, linked into another environment from the installed packages."""

from __future__ import annotations

from email.parser import Parser
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement

__all__ = ["link_requirements"]

_SCRIPT = """#!{python}
import sys
from {module} import {function}
sys.exit({function}())
"""


def link_requirements(wheel: Path, extras: set[str], python: Path) -> None:
    """Give an environment what a wheel requires, with links to what is installed here.

    Args:
      wheel: The wheel, which is not installed itself.
      extras: The extras that are wanted.
      python: The interpreter of the environment.
    """
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    found: dict[str, set[str]] = {}
    _collect(_requires_of(wheel), extras, found)
    for name in found:
        _link(distribution(name), site, python)


def _requires_of(wheel: Path) -> list[str]:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    return metadata.get_all("Requires-Dist") or []


def _collect(requires: list[str], extras: set[str], found: dict[str, set[str]]) -> None:
    """Add what is required, and what that requires, with the extras of each."""
    for text in requires:
        needed = Requirement(text)
        marker = needed.marker
        if marker and not any(marker.evaluate({"extra": each}) for each in extras or {""}):
            continue
        there = distribution(needed.name)
        assert needed.specifier.contains(there.version, prereleases=True), (text, there.version)
        known = found.get(needed.name)
        if known is None or not needed.extras <= known:
            found[needed.name] = needed.extras | (known or set())
            _collect(there.requires or [], needed.extras, found)


def _link(package: Distribution, site: Path, python: Path) -> None:
    for name in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
        link = site / name
        if not link.is_symlink():
            link.symlink_to(Path(str(package.locate_file(name))))
    for entry in package.entry_points.select(group="console_scripts"):
        script = python.with_name(entry.name)
        text = _SCRIPT.format(python=python, module=entry.module, function=entry.attr)
        script.write_text(text)
        script.chmod(0o755)
