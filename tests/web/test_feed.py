"""The messages of a view: bounded, numbered, and each on lines of its own."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.paging import Event
from trio_dispatch.web.feed import Feed, encode_event


def test_feed_is_bounded_by_number_and_by_size() -> None:
    feed = Feed(max_messages=10, max_bytes=10_000)
    for number in range(1, 30):
        feed.put("changes", {"number": number})
        found = feed.after(max(0, number - 10))
        assert found is not None
        assert len(found) == min(number, 10)
    assert feed.after(feed.last) == []
    assert feed.after(feed.last - 11) is None
    feed.put("changes", {"text": "x" * 9_900})
    assert [len(each) > 9_900 for each in feed.after(feed.last - 1) or []] == [True]
    assert feed.after(feed.last - 2) is None
    # A message that is longer than the limit is dropped: the pages load everything again.
    feed.put("changes", {"text": "x" * 11_000})
    assert feed.after(feed.last - 1) is None
    assert feed._size == 0


def test_ids_are_of_one_feed() -> None:
    feed, other = Feed(), Feed()
    for each in (feed, other):
        each.put("sync", {})
    assert feed.number_of(feed.id_of(1)) == 1
    assert feed.number_of(other.id_of(1)) is None
    assert feed.number_of(feed.id_of(2)) is None  # which is still to come


@given(st.text(), st.text())
def test_no_text_ends_a_message(key: str, value: str) -> None:
    data = encode_event("changes", {key: value}, "a-1")
    assert data.endswith(b"\n\n")
    text = data.decode().removesuffix("\n\n")
    assert text.splitlines() == text.split("\n")
    assert len(text.split("\n")) == 3
    assert Event(text).data == {key: value}


async def test_each_waiting_page_is_woken(autojump_clock: trio.testing.MockClock) -> None:
    feed = Feed()
    woken: list[int] = []

    async def wait(number: int) -> None:
        await feed.wait(number)
        woken.append(number)

    async with trio.open_nursery() as nursery:
        for number in (0, 0, 1):
            nursery.start_soon(wait, number)
        await trio.sleep(1)
        feed.put("sync", {})
        await trio.sleep(1)
        assert woken == [0, 0]
        feed.put("sync", {})
