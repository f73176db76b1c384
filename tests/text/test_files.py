"""Dispatches in TOML, and in CSV as spreadsheets write and read it."""

from __future__ import annotations

import csv
import io
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.random_dispatches import dispatches, exactly
from trio_dispatch import (
    Dispatch,
    ElectricalComponentCategory,
    TargetCategories,
    TargetCategory,
    TargetIds,
)
from trio_dispatch.testing import make_dispatch
from trio_dispatch.text.files import read_copies, read_table, write_header, write_row, write_table

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(dispatches())
def test_any_dispatch_survives_toml(dispatch: Dispatch) -> None:
    timeless = replace(dispatch, create_time=EPOCH, update_time=EPOCH, end_time=None)
    back = read_table(write_table(dispatch), zone=UTC)
    assert exactly(back) == exactly(timeless)
    document = write_header("toml", 7, ["B", "A"]) + write_row(dispatch, "toml") * 2
    content = tomllib.loads(document)
    assert (content["microgrid"], content["types"]) == (7, ["A", "B"])
    assert len(content["dispatch"]) == 2


def test_toml_is_written_for_people() -> None:
    dispatch = make_dispatch(
        7, start_time=datetime(2027, 1, 1, 8, tzinfo=UTC), payload={"power_kw": 5, "a b": [True]}
    )
    assert write_table(dispatch) == (
        'id = 7\ntype = "CHARGE"\nstart_time = "2027-01-01T08:00:00Z"\nduration = "1h"\n'
        'target = "1"\nactive = true\ndry_run = false\n'
        'payload = {power_kw = 5, "a b" = [true]}\n'
    )


def cells_of(dispatch: Dispatch) -> dict[str, str]:
    text = write_header("csv", 1) + write_row(dispatch, "csv")
    header, row = csv.reader(io.StringIO(text, newline=""))
    return dict(zip(header, row, strict=True))


@given(dispatches(), st.sampled_from(["", "=", "+1", "-", "@SUM", "\t", "\r", "'", "'="]))
def test_no_cell_is_a_formula(dispatch: Dispatch, beginning: str) -> None:
    cells = cells_of(replace(dispatch, type=beginning + dispatch.type))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells.values())


@pytest.mark.parametrize(
    ("type", "cell"),
    [
        ("CHARGE", "CHARGE"),
        ("=1+1", "'=1+1"),
        ("'quoted", "''quoted"),
        ("007", "'007"),
        ("1-3", "'1-3"),
        ("TRUE", "'TRUE"),
        ("TRUENESS", "TRUENESS"),
        ("MAR1", "'MAR1"),
        ("Sept 12", "'Sept 12"),
        ("MARCH", "MARCH"),
    ],
)
def test_a_type_that_a_spreadsheet_would_change(type: str, cell: str) -> None:
    assert cells_of(make_dispatch(type=type))["type"] == cell


@pytest.mark.parametrize(
    ("target", "cell"),
    [
        (TargetIds(1), "1"),
        (TargetIds(1, 2, 3, 7), "1..3;7"),
        (TargetIds(1, 2), "1;2"),
        (TargetIds(2**64 - 1), f"{2**64 - 1}..{2**64 - 1}"),
        (
            TargetCategories(
                TargetCategory(ElectricalComponentCategory.BATTERY),
                TargetCategory(ElectricalComponentCategory.CHP),
            ),
            "battery;chp",
        ),
        (None, "none"),
    ],
)
def test_a_target_that_no_spreadsheet_changes(target: Any, cell: str) -> None:
    assert cells_of(make_dispatch(target=target))["target"] == cell


def test_a_number_that_a_spreadsheet_cannot_hold() -> None:
    assert cells_of(make_dispatch(2**64 - 1))["id"] == "#18446744073709551615"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("beginning", ["", "sep=%\r\n", "\r\n"])
def test_what_spreadsheets_write(separator: str, beginning: str) -> None:
    rows = [
        ["ID", "Type", "Start time", "Duration", "Target", "Active", "Dry_run", "Payload.power_kW",
         "Payload.mode", "payload", "Comment", "create_time", "update_time", "note", "", ""],
        ["#7", "'-X", "2027-01-01T08:00Z", "01:30:00", "1..3", "TRUE", "no", "7.5", "eco",
         '{"a": 1}', "=1+1", "2026-01-01", "2026-01-01", "x"],
        [],
        ["8", "Y", "2027-01-01T08:00Z", "90m", "1;2" if separator == ";" else "1,2", "0", "YES", "",
         "", "", "", "2026-01-01", "2026-01-01", "", "", ""],
    ]  # fmt: skip
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="\r\n").writerows(rows)
    text = beginning.replace("%", separator) + out.getvalue()
    first, second = read_copies(text, "csv", "plan.csv", zone=UTC)
    assert (first.id, first.type, first.target) == (7, "-X", TargetIds(1, 2, 3))
    assert (first.active, first.dry_run) == (True, False)
    assert first.payload == {"power_kW": 7.5, "mode": "eco", "a": 1}
    assert (second.active, second.dry_run, second.payload) == (False, True, {})
    assert first.duration == second.duration
    assert second.target == TargetIds(1, 2)
