"""Wrong values in plans: each message names the place, the value, and what would be right."""

# ruff: noqa: E501 - the tables are easier to read with a case on each line

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from tests.helpers.commanding import Cli, ServiceThread
from trio_dispatch.cli.plans.matching import match
from trio_dispatch.cli.plans.memory import Memory
from trio_dispatch.cli.plans.plan import check_changes, parse_ahead, read_plan
from trio_dispatch.text.files import FileFormat, InvalidFileError

NOW = datetime(2089, 6, 1, tzinfo=UTC)
NAMES = (
    "name", "id", "type", "start_time", "duration", "target", "active", "payload", "payload.soc",
    "recurrence", "timezone", "except", "holidays",
)  # fmt: skip
GOOD = {
    "type": "CHARGE",
    "start_time": "2090-01-01 08:00",
    "duration": "90m",
    "target": "1..3",
    "active": "yes",
}
LOCAL = {"timezone": "Europe/Berlin", "name": "noon"}


def problems_of(text: str, format: FileFormat) -> list[str]:
    """What is wrong with a plan, before anything is asked of a service or after."""
    try:
        plan = read_plan(text, format, f"plan.{format}", zone=UTC)
        wanted = plan.wanted(Memory(), NOW, NOW.replace(year=2091))
    except InvalidFileError as exc:
        return [*exc.problems]
    return check_changes(match(wanted, [], now=NOW).changes, NOW)


def sheet(cells: dict[str, str]) -> str:
    """A plan of one row, as a spreadsheet writes it."""
    row = GOOD | cells
    assert row.keys() <= {*NAMES}
    quoted = ('"' + row.get(name, "").replace('"', '""') + '"' for name in NAMES)
    return f"{','.join(NAMES)}\n{','.join(quoted)}\n"


# fmt: off
CELLS: list[tuple[dict[str, str], str]] = [
    ({"type": ""}, "3: type: '' is not a type: use a word such as CHARGE"),
    ({"start_time": ""}, "4: start_time: missing: use 2026-12-01T08:00Z or '2026-12-01 08:00'"),
    ({"start_time": "tomorrow"}, "4: start_time: 'tomorrow' is not a date and time: use 2026-"),
    ({"start_time": "01.12.2090"}, "4: start_time: '01.12.2090' is not a date and time: use 2026"),
    ({"start_time": "2090-02-30"}, "4: start_time: '2090-02-30' is not a time: day is out of ran"),
    ({"duration": "long"}, "5: duration: 'long' is not a duration: use 90m, 1h30m,"),
    ({"duration": "1,5h"}, "5: duration: '1,5h' has a decimal comma: write 1.5"),
    ({"duration": "90,0"}, "5: duration: '90,0' has a decimal comma: write 90.0"),
    ({"duration": "0.5s"}, "5: duration: '0.5s' is not a whole number of seconds"),
    ({"duration": "5000000000"}, "5: duration: 5000000000 is not in the range 0 to 4294967295"),
    ({"target": "boiler"}, "6: target: unknown category 'boiler': use grid_connection_point"),
    ({"target": "3..1"}, "6: target: '3..1' is not a range: use 1-3"),
    ({"target": "2090-01-03"}, "6: target: '2090-01-03' is a date, which spreadsheets make of"),
    ({"target": "3. Jan"}, "6: target: '3. Jan' is a date, which spreadsheets make of 1-3: write"),
    ({"target": "1;battery"}, "6: target: '1;battery' mixes ids and categories: use one or the"),
    ({"target": "inverter:li_ion"}, "6: target: unknown type 'li_ion' of inverter: use battery"),
    ({"active": "maybe"}, "7: active: 'maybe' is not one of true, false, yes, no, 1, 0"),
    ({"payload": "{power_kw: 5}"}, "8: payload: '{power_kw: 5}': invalid JSON: Expecting property"),
    ({"payload": '{"kw": 7,5}'}, "8: payload: '{\"kw\": 7,5}' has a decimal comma: write 7.5"),
    ({"payload": "5"}, "8: payload: 5 is not an object"),
    ({"payload.soc": "0,8"}, "9: payload.soc: '0,8' has a decimal comma: write 0.8"),
    ({"recurrence": "daily"}, "10: recurrence: the rule 'daily': 'DAILY' is not NAME=VALUE"),
    ({"recurrence": "FREQ=OFTEN"}, "10: recurrence: the rule 'FREQ=OFTEN': FREQ=OFTEN is not one"),
    ({"recurrence": "FREQ=DAILY;BYHOUR=24"}, "10: recurrence: the rule 'FREQ=DAILY;BYHOUR=24': by"),
    ({"recurrence": '{"frequency": "x"}'}, "10: recurrence: unknown name 'x': use unspecified, m"),
    ({"id": "seven"}, "2: id: 'seven' is not an integer"),
    ({"id": "-1"}, "2: id: '-1' is not an integer"),
    ({"id": "7", **LOCAL}, "2: 'noon': id: 7 is one dispatch, but local times become several: gi"),
    ({"timezone": "Berlin"}, "11: timezone: 'Berlin' is unknown: use a name such as 'Europe/Berlin'"),
    ({"except": "2090-05-01"}, '12: except: needs a timezone, such as "Europe/Berlin", in the sa'),
    ({"except": "1.5.", **LOCAL}, "12: 'noon': except: '1.5.' is not a list of dates such as 2026"),
    ({"holidays": "Bayern", **LOCAL}, "13: 'noon': holidays: 'Bayern': the country 'Bayern' is unknown: use"),
    # What the API allows.
    ({"recurrence": "FREQ=DAILY;COUNT=5000"}, " recurrence.end_criteria.count: must be from 1 to 409"),
    ({"recurrence": "FREQ=DAILY;INTERVAL=20000"}, " recurrence.interval: must be from 1 to 10000, "),
    ({"recurrence": "FREQ=WEEKLY;BYMONTHDAY=1"}, " recurrence.bymonthdays: must be empty in a week"),
    ({"target": "[]"}, " target: must name at least one component or category"),
    ({"target": "none"}, " target: is required"),
    ({"payload": '{"a": [[[[[1]]]]]}'}, " payload: must have at most 5 levels, not 6"),
]
# fmt: on


@pytest.mark.parametrize(("cells", "message"), CELLS)
def test_a_wrong_cell(cells: dict[str, str], message: str) -> None:
    (problem,) = problems_of(sheet(cells), "csv")
    place = "plan.csv:2:"
    assert problem.startswith(place + message), problem


def test_all_wrong_cells_are_named_at_once() -> None:
    text = (
        "sep=;\n"
        "type;start time;duration;target;Comment;colour;active\n"
        ";2090-01-01;1,5;1-3;mine;;\n"
        'CHARGE;2090-01-01;90m;"1\n2";;;vielleicht\n'
        "CHARGE;2090-01-01;90m\n"
        "CHARGE;2090-01-01;90m;1..3;;red;yes;extra\n"
    )
    columns, *cells = problems_of(text, "csv")
    assert columns.startswith("plan.csv:2:6: colour: unknown column: use id, type, start_time, ")
    assert columns.endswith("; name it comment or note to have it ignored")
    assert [re.sub("use grid.*", "use ...", each) for each in cells] == [
        "plan.csv:3:1: type: '' is not a type: use a word such as CHARGE",
        "plan.csv:3:3: duration: '1,5' has a decimal comma: write 1.5",
        "plan.csv:4:4: target: unknown category '1\\n2': use ...",
        "plan.csv:4:7: active: 'vielleicht' is not one of true, false, yes, no, 1, 0",
        "plan.csv:6:4: target: missing: use 1-3 or battery,inverter:pv",
        "plan.csv:7: 8 cells, but the header names 7",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type": "A"', ":1:13: invalid JSON: Expecting ',' delimiter"),
        ("[1]", ":1: [1] is not an object with the keys type, start_time, duration, target"),
        (
            '{"type": 5, "start_time": 5, "duration": -1, "target": 1}',
            ":1: type: 5 is not a string",
        ),
        ('{"tipe": "A"}', ":1: tipe: unknown key: did you mean type?"),
        (
            '{"name": 5, "type": "A", "start_time": "2090-01-01", "duration": 1, "target": []}',
            ":1: name: 5 is not a name: use a word such as noon",
        ),
        ('{"payload": {"a": NaN}}', ":1: NaN is not a number in JSON: leave it out or use null"),
    ],
)
def test_a_wrong_line(text: str, message: str) -> None:
    assert problems_of(text, "jsonl")[0].startswith(f"plan.jsonl{message}")


ENTRY = 'type = "A"\nstart_time = 2090-01-01T08:00:00Z\nduration = "1h"\ntarget = [1]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("microgrid = \n", ":1:13: invalid TOML: Invalid value"),
        ('microgrid = "1"\n', ": microgrid: '1' is not an id: use microgrid = 1"),
        ("types = 5\n", ': types: 5 is not a list of types: use types = ["CHARGE"]'),
        ("ahead = 5\n", ': ahead: 5 is not a duration: use ahead = "1y"'),
        ('ahead = "never"\n', ": ahead: 'never' is not a time ahead: use 1y, 26w or 90d"),
        ("dispatches = []\n", ": dispatches: unknown key: did you mean dispatch?"),
        ("dispatch = 5\n", ": dispatch: not a list of tables: write [[dispatch]]"),
        (
            f'types = ["B"]\n[[dispatch]]\n{ENTRY}',
            ":2: type: 'A' is not one of the types of the pl",
        ),
        (f"[[dispatch]]\n{ENTRY}start = 5\n", ":1: start: unknown key: did you mean start_time?"),
        (
            f'[[dispatch]]\n{ENTRY}payload = "["\n',
            ":1: payload: '[': invalid JSON: Expecting value",
        ),
        (
            f"[[dispatch]]\n{ENTRY}payload.a = 2090-01-01\n",
            ":1: payload['a']: datetime.date(2090, 1",
        ),
        ('dispatch = [{type = "A", target = "x"}]', ": dispatch 1: start_time: missing: use 2026"),
        (
            f'[[dispatch]]\nname = "n"\n{ENTRY}\n[[dispatch]]\nname = "n"\n{ENTRY}',
            ":8: 'n': name: 'n' is given twice, first at plan.toml:1: 'n'",
        ),
        (
            f"[[dispatch]]\nid = 5\n{ENTRY}\n[[dispatch]]\nid = 5\n{ENTRY}",
            ":8: id: 5 is given twice, first at plan.toml:1",
        ),
    ],
)
def test_a_wrong_table(text: str, message: str) -> None:
    assert problems_of(text, "toml")[0].startswith(f"plan.toml{message}")


@pytest.mark.parametrize("text", ["never", "0", "-1y", "y", "", "1 month", "forever"])
def test_a_wrong_time_ahead(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time ahead: use 1y, 26w or 90d"):
        parse_ahead(text)


def test_several_problems_are_one_block(cli: Cli, service_thread: ServiceThread) -> None:
    path = cli.directory / "plan.csv"
    path.write_text("type,start_time,duration,target\n" + "A,x,60,y\n" * 75)
    for command in (("apply", "--yes"), ("diff",)):
        result = cli(*command, str(path))
        assert result.exit_code == 2
        first, second, *_, more, error = result.stderr.splitlines()
        assert first.startswith(f"{path}:2:2: start_time: 'x' is not a date and time")
        assert second.startswith(f"{path}:2:4: target: unknown category 'y'")
        assert more == "and 50 more"
        assert error == f"Error: {path} has 150 invalid values: nothing was done"
    assert not service_thread.dispatches()
