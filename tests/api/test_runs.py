"""Runs and changes from bytes: entries that cannot be decoded spoil nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

from trio_dispatch.api import runs_wire, wire
from trio_dispatch.api.codec import WIRE, dispatch_to_wire, message_field
from trio_dispatch.api.runs import (
    decode_change_page,
    decode_report,
    decode_run,
    decode_run_page,
    decode_streamed_run,
    encode_report,
    encode_run,
)
from trio_dispatch.model.runs import (
    ChangeKind,
    ReportKind,
    RunReport,
    StopReason,
    apply_report,
)
from trio_dispatch.model.times import time_from_nanos
from trio_dispatch.model.undecodable import Undecodable
from trio_dispatch.testing import make_dispatch

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REPORT = RunReport(
    sequence=7,
    dispatch_id=1 << 63,
    start_time=time_from_nanos(1_766_000_000_123_456_789),
    kind=ReportKind.STOPPED,
    time=NOW,
    update_time=NOW,
    type="CHARGE",
    actor="charger",
    component=0,
    reason=StopReason.SUPERSEDED,
    dry_run=True,
    until=NOW,
    attempt=3,
    error="ümlaut",
    details={"a": [1.5, None, {"b": "c"}]},
)
RUN = apply_report(None, REPORT, dispatcher="site")


def test_reports_and_runs_survive_the_wire() -> None:
    assert decode_report(encode_report(REPORT)) == REPORT
    assert decode_run(encode_run(RUN)) == RUN


def test_an_undecodable_run_does_not_spoil_its_page() -> None:
    no_time = WIRE.encode(runs_wire.Run(dispatch_id=2, state=runs_wire.RunState(1)), runs_wire.Run)
    unknown = WIRE.decode(encode_run(RUN), runs_wire.Run)
    unknown.state = runs_wire.RunState(99)
    entries = (
        encode_run(RUN),
        no_time,
        WIRE.encode(unknown, runs_wire.Run),
        bytes.fromhex("ff"),
        bytes.fromhex("0a02fffe"),
    )
    page = decode_run_page(b"".join(message_field(1, entry) for entry in entries))
    assert page.entries == (RUN,)
    assert [item.id for item in page.undecodable] == [2, 1 << 63, None, None]
    assert "unknown value 99" in page.undecodable[1].reason
    assert decode_streamed_run(message_field(1, no_time)) == Undecodable(
        2, page.undecodable[0].reason
    )
    assert decode_streamed_run(b"") == Undecodable(None, "it has no run")


def test_changes_with_an_undecodable_dispatch_are_listed() -> None:
    old = dispatch_to_wire(make_dispatch(5))
    bad = wire.Dispatch(metadata=wire.DispatchMetadata(dispatch_id=5))
    changes = [
        runs_wire.Change(sequence=3, time=NOW, dispatch_id=5, old=old, new=bad, key_name="k"),
        runs_wire.Change(sequence=2, time=NOW, dispatch_id=5, new=old),
        runs_wire.Change(sequence=1, time=NOW, dispatch_id=5, old=old),
        runs_wire.Change(sequence=1, time=NOW, dispatch_id=5),
    ]
    response = runs_wire.ListChangesResponse(changes=changes)
    page = decode_change_page(WIRE.encode(response, runs_wire.ListChangesResponse))
    assert [change.kind for change in page] == [
        ChangeKind.UPDATED,
        ChangeKind.CREATED,
        ChangeKind.DELETED,
    ]
    first = page.entries[0]
    assert (first.old, first.key_name) == (make_dispatch(5), "k")
    assert isinstance(first.new, Undecodable)
    assert [item.id for item in page.undecodable] == [5]
