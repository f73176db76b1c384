"""What people search for leads somewhere: Sphinx's search index has it in a heading."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

DOCS = Path(__file__).parents[2] / "docs"
SEARCHED = {
    "alert": {"faq", "howto/operating"},
    "audit": {"faq"},
    "backup": {"faq", "howto/operating"},
    "certificate": {"faq", "howto/security"},
    "clock": {"faq", "explanation/failures"},
    "conflict": {"faq"},
    "container": {"howto/deploying", "howto/operating"},
    "crash": {"faq", "howto/actors"},
    "cron": {"faq"},
    "CSV": {"faq"},
    "dashboard": {"faq", "howto/operating"},
    "daylight": {"faq"},
    "Docker": {"faq"},
    "dry run": {"faq"},
    "DST": {"faq"},
    "Excel": {"faq"},
    "failover": {"faq"},
    "Grafana": {"faq"},
    "high availability": {"faq"},
    "holiday": {"faq", "howto/local-time"},
    "install": {"faq", "install"},
    "keys": {"faq", "howto/security"},
    "Kubernetes": {"faq"},
    "logs": {"faq", "howto/service"},
    "macOS": {"faq"},
    "metrics": {"faq", "howto/operating"},
    "NTP": {"faq"},
    "performance": {"faq"},
    "power failure": {"faq"},
    "priority": {"faq"},
    "Prometheus": {"faq"},
    "proxy": {"howto/live-page"},
    "purge": {"faq"},
    "reboot": {"faq"},
    "restore": {"faq"},
    "retention": {"faq"},
    "rollback": {"faq"},
    "rotate": {"faq", "howto/security"},
    "spreadsheet": {"faq", "howto/plans"},
    "systemd": {"faq", "howto/deploying", "howto/operating"},
    "timezone": {"faq"},
    "TLS": {"faq", "howto/security"},
    "troubleshooting": {"troubleshooting"},
    "upgrade": {"faq", "howto/operating"},
    "Windows": {"faq"},
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The search index of all pages but the reference, which takes longest."""
    folder = tmp_path_factory.mktemp("html")
    extensions = {
        "extensions": ["myst_parser"],
        "myst_heading_anchors": 3,
        "myst_enable_extensions": ["colon_fence", "deflist"],
    }
    app = Sphinx(
        DOCS,
        None,
        folder,
        folder / "doctrees",
        "html",
        {**extensions, "html_theme": "basic", "exclude_patterns": ["reference", "_build"]},
        status=None,
        warning=io.StringIO(),
    )
    app.build()
    found = re.fullmatch(
        r"Search\.setIndex\((.*)\)\s*", (folder / "searchindex.js").read_text(), re.DOTALL
    )
    assert found
    return json.loads(found[1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_what_people_search_for_is_in_a_heading(index: Any) -> None:
    stem = SearchEnglish({}).stem
    for words, pages in SEARCHED.items():
        found = set(index["docnames"])
        for word in words.split():
            titles = index["titleterms"].get(stem(word.lower()), [])
            numbers = titles if isinstance(titles, list) else [titles]
            found &= {index["docnames"][number] for number in numbers}
        assert pages <= found, words
