"""Time zones and holidays come from data that a machine may lack."""

from __future__ import annotations

import sys
import zoneinfo
from collections.abc import Iterator

import pytest

from trio_dispatch.model.local_time import free_days
from trio_dispatch.model.local_time.clocks import load_zone
from trio_dispatch.model.local_time.free_days import check_region


@pytest.fixture
def no_system_zones() -> Iterator[None]:
    """Look for time zones as on a machine without /usr/share/zoneinfo."""
    path = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath(to=path)
    zoneinfo.ZoneInfo.clear_cache()


@pytest.mark.usefixtures("no_system_zones")
def test_the_package_tzdata_has_the_zones_that_the_system_lacks() -> None:
    assert load_zone("Europe/Berlin").key == "Europe/Berlin"


@pytest.mark.usefixtures("no_system_zones")
def test_a_machine_without_time_zones_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "tzdata"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tzdata", None)
    with pytest.raises(ValueError, match=r"no time zone database; install trio-dispatch\[local-t"):
        load_zone("Europe/Berlin")


def test_holidays_without_their_package_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free_days._calendar.cache_clear()
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(ValueError, match=r"holidays 'DE' needs the package holidays: install trio"):
        check_region("DE")
