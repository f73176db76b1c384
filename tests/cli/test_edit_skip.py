"""``edit`` and ``skip``."""

from __future__ import annotations

import stat
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.helpers.commanding import Cli, ServiceThread, settings_for
from trio_dispatch import Dispatch, EndCriteria, Frequency, RecurrenceRule, TargetIds, clock
from trio_dispatch.cli.commands.skip import skip
from trio_dispatch.grpc import Status
from trio_dispatch.testing import LocalService, make_dispatch, open_test_service

LATER = datetime(2090, 1, 2, 11, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAILY = RecurrenceRule(Frequency.DAILY)


# edit


@pytest.fixture
def edited(
    cli: Cli, service_thread: ServiceThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Cli:
    """The service has dispatch 1, and files land in a folder of this test."""
    service_thread.put(
        make_dispatch(
            1, start_time=LATER, payload={"power_kw": 5, "näme": ["a\U000e0001", None]},
            recurrence=DAILY,
        )
    )  # fmt: skip
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return cli


def use_editor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *scripts: str, name: str = "EDITOR"
) -> None:
    """Have the editor run these commands of sed, one each time that it is opened."""
    editor = tmp_path / "editor"
    lines = "".join(
        f'{n}) cp "$1" {tmp_path}/seen{n}; sed -i -e \'{script}\' "$1" ;;\n'
        for n, script in enumerate(scripts, 1)
    )
    editor.write_text(
        f"#!/bin/sh\necho x >> {tmp_path}/times\n"
        f"case $(wc -l < {tmp_path}/times | tr -d ' ') in\n{lines}*) exit 9 ;;\nesac\n"
    )
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv(name, f"{editor}")


def test_edit_changes_what_differs(
    edited: Cli, service_thread: ServiceThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_editor(monkeypatch, tmp_path, "s/1h/2h/; s/^start_time.*/start_time = 2090-01-02 13:00:00/")
    before = service_thread.dispatches()[1]
    said = edited.ok("edit", "1")
    assert said == (
        "updated #1 CHARGE on 1\n    start     2090-01-02 12:00 -> 2090-01-02 13:00\n"
        "    duration  1h -> 2h\n    recurs    every day at 11:00 UTC -> every day at 12:00 UTC\n"
    )
    after = service_thread.dispatches()[1]
    assert (after.start_time, after.duration) == (LATER + HOUR, 2 * HOUR)
    assert (after.payload, after.recurrence) == (before.payload, DAILY)
    assert not [*tmp_path.glob("dispatch-*")]
    assert "Times without an offset are in Europe/Berlin" in (tmp_path / "seen1").read_text()


def test_an_invalid_value_is_shown_in_the_editor(
    edited: Cli, service_thread: ServiceThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_editor(
        monkeypatch, tmp_path,
        's/"1h"/"long"/; s/^active.*/active = 5/', 's/"long"/"3h"/; s/^active.*/active = false/',
        name="VISUAL",
    )  # fmt: skip
    edited.ok("edit", "1")
    first, second, *_ = (tmp_path / "seen2").read_text().splitlines()
    assert first.startswith("# Error: duration: 'long' is not a duration: use 90m")
    assert second == "# Error: active: 5 is not true or false"
    after = service_thread.dispatches()[1]
    assert (after.duration, after.active) == (3 * HOUR, False)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("s/CHARGE/HEAT/", "type: 'HEAT' cannot be set: it stays 'CHARGE'"),
        ("s/^id = 1/id = 2/", "id: 2 cannot be set"),
        (
            "s/2090/2020/",
            "start_time: must not be in the past",
        ),
        ("s/^target.*/target = []/", "target: must name at least one component"),
        ("s/^active/activ/", "activ: unknown key: did you mean active?"),
        ("s/^id/= id/", "invalid TOML"),
    ],
)
def test_an_edit_that_is_left_invalid(
    edited: Cli, service_thread: ServiceThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    script: str, error: str,
) -> None:  # fmt: skip
    before = service_thread.dispatches()
    use_editor(monkeypatch, tmp_path, script, "")
    result = edited("edit", "1")
    assert result.exit_code == 1
    assert error in result.stderr
    (kept,) = tmp_path.glob("dispatch-1-*.toml")
    assert f"the text is in {kept}" in result.stderr
    assert service_thread.dispatches() == before


def test_edit_prints_json(edited: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_editor(monkeypatch, tmp_path, "s/1h/2h/")
    (after,) = edited.json("edit", "1")
    assert (after["id"], after["duration"]) == (1, 7200)


@pytest.mark.parametrize("script", ["", "d", "s/^# .*//"])
def test_an_edit_of_nothing(
    edited: Cli, service_thread: ServiceThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    script: str,
) -> None:  # fmt: skip
    use_editor(monkeypatch, tmp_path, script)
    before = service_thread.dispatches()
    assert "nothing was changed" in edited("edit", "1").stderr
    assert service_thread.dispatches() == before


def test_an_editor_that_fails_or_is_not_there(
    edited: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_editor(monkeypatch, tmp_path)
    assert edited.fails(1, "edit", "1").endswith("editor ended with status 9")
    monkeypatch.setenv("EDITOR", "no-such-editor -x")
    assert "'no-such-editor -x' was not found: set VISUAL or EDITOR" in edited.fails(2, "edit", "1")
    edited.fails(2, "edit", "1-3")


# skip


def starts(dispatches: dict[int, Dispatch], count: int = 6) -> list[datetime]:
    """The first occurrences of all dispatches."""
    found: list[datetime] = []
    for each in dispatches.values():
        start = each.first_after(each.start_time, inclusive=True)
        while start is not None and start < LATER + count * DAY:
            found.append(start)
            start = each.first_after(start)
    return sorted(found)


def counted(count: int) -> RecurrenceRule:
    return RecurrenceRule(Frequency.DAILY, end_criteria=EndCriteria(count=count))


@pytest.mark.parametrize(
    ("rule", "day", "printed"),
    [
        (DAILY, 2, ["created #", "updated #"]),
        (DAILY, 0, ["updated #"]),
        (counted(4), 2, ["created #", "updated #"]),
        (counted(3), 2, ["updated #"]),
        (None, 0, ["deleted #"]),
    ],
)
@pytest.mark.parametrize("form", ["{:%Y-%m-%d}", "{:%Y-%m-%dT%H:%MZ}"])
def test_skip(
    cli: Cli, service_thread: ServiceThread, rule: RecurrenceRule | None, day: int,
    printed: list[str], form: str,
) -> None:  # fmt: skip
    service_thread.put(make_dispatch(1, start_time=LATER, recurrence=rule, payload={"a": 1}))
    before = starts(service_thread.dispatches())
    lines = cli.ok("skip", "1", form.format(LATER + day * DAY)).splitlines()
    assert [line[: line.index("#") + 1] for line in lines] == printed
    before.remove(LATER + day * DAY)
    assert starts(service_thread.dispatches()) == before
    if len(lines) == 2:
        assert {json["id"] for json in cli.json("list")} == {1, service_thread.last_id}


def test_what_cannot_be_skipped(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(
        make_dispatch(1, start_time=LATER, recurrence=DAILY),
        make_dispatch(2, start_time=LATER, recurrence=RecurrenceRule(Frequency.HOURLY)),
        make_dispatch(3, start_time=datetime(2020, 1, 1, tzinfo=UTC), recurrence=DAILY),
    )
    before = service_thread.dispatches()
    message = cli.fails(2, "skip", "1", "2090-01-05T08:00Z")
    assert "nearest are 2090-01-04T11:00:00Z and 2090-01-05T11:00:00Z" in message
    assert "is not an occurrence of dispatch 1" in cli.fails(2, "skip", "1", "2089-01-01")
    message = cli.fails(2, "skip", "2", "2090-01-05")
    assert "'2090-01-05' has several occurrences: give one, as in 2090-01-05 00:00" in message
    assert "has begun: to stop its run, give update 3" in cli.fails(2, "skip", "3", "2021-02-02")
    assert "is not a time" in cli.fails(2, "skip", "1", "soon")
    assert "no dispatch 9" in cli.fails(3, "skip", "9", "tomorrow")
    assert service_thread.dispatches() == before


@pytest.mark.parametrize("form", ["{:%Y-%m-%d}", "{:%Y-%m-%dT%H:%MZ}"])
def test_a_repeated_skip_changes_nothing(
    cli: Cli, service_thread: ServiceThread, form: str
) -> None:
    service_thread.put(make_dispatch(1, start_time=LATER, recurrence=DAILY))
    arguments = ("skip", "1", form.format(LATER + 2 * DAY))
    cli.ok(*arguments)
    before = service_thread.dispatches()
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "2090-01-04 12:00, which is already skipped: nothing was changed" in result.stderr
    assert "is not an occurrence" in cli.fails(2, "skip", "1", form.format(LATER + 3 * DAY))
    assert service_thread.dispatches() == before


@pytest.mark.parametrize("failing", ["create", "update"])
@pytest.mark.parametrize("carried_out", [False, True])
async def test_a_skip_that_fails_on_the_way_is_finished_by_the_same_command(
    autojump_clock: trio.testing.MockClock, failing: str, carried_out: bool
) -> None:
    async with open_test_service() as service:
        start = clock.now().replace(microsecond=0) + DAY
        dispatch = await service.client.create(
            1, type="A", start_time=start, duration=HOUR, target=TargetIds(1), recurrence=DAILY
        )
        text = f"{start + 2 * DAY:%Y-%m-%dT%H:%M:%SZ}"

        async def command() -> None:
            await skip(settings_for(service), id=dispatch.id, occurrence=text)

        if carried_out:
            with service.delay(failing, seconds=3600), pytest.raises(Exception, match=r"."):
                await command()
        else:
            service.fail_next(failing, Status.UNAVAILABLE)
            with pytest.raises(Exception, match=r"."):
                await command()
        found = Counter(await occurrences(service, start))
        assert {*found} >= {start + n * DAY for n in (0, 1, 3, 4)}, "no run is lost"
        await command()
        assert await occurrences(service, start) == [start + n * DAY for n in (0, 1, 3, 4, 5)]
        assert len(await service.dispatches()) == 2


async def occurrences(service: LocalService, start: datetime) -> list[datetime]:
    days = [start + n * DAY for n in range(6)]
    found = (await service.dispatches()).values()
    return sorted(day for each in found for day in days if each.last_start(day) == day)
