"""The journal of a cache: what actors were given since the file was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_dispatch.clock import VIRTUAL_START as START
from trio_dispatch.dispatcher.cache_file import load, save
from trio_dispatch.dispatcher.journal import Journal, read_journal
from trio_dispatch.testing import make_dispatch

FIRST, SECOND, THIRD = map(make_dispatch, (1, 2, 3))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_entries_are_read_in_order(cache: Path) -> None:
    journal = Journal(cache)
    journal.append(1, [FIRST, SECOND])
    journal.append(2, [THIRD])
    assert [*read_journal(cache)] == [(1, (FIRST, SECOND)), (2, (THIRD,))]


def test_trimming_keeps_later_entries(cache: Path) -> None:
    journal = Journal(cache)
    for sequence, dispatch in enumerate([FIRST, SECOND, THIRD]):
        journal.append(sequence, [dispatch])
    journal.trim(1)
    assert [*read_journal(cache)] == [(2, (THIRD,))]
    journal.trim(2)
    assert [*cache.parent.iterdir()] == []


def test_incomplete_entry_ends_the_journal(cache: Path) -> None:
    journal = Journal(cache)
    journal.append(1, [FIRST])
    journal.append(2, [SECOND])
    path = cache.with_name("cache.journal")
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert [*read_journal(cache)] in ([], [(1, (FIRST,))])
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert [*read_journal(cache)] == [(1, (FIRST,))]


def test_state_is_the_file_and_the_entries_that_it_does_not_include(cache: Path) -> None:
    journal = Journal(cache)
    journal.append(4, [FIRST])
    journal.append(5, [SECOND])
    save(cache, 1, START, {3: THIRD}, [3], [], [FIRST], 4)
    state = load(cache, 1)
    assert state is not None
    assert (state.dispatches, state.driven, state.sequence) == ((THIRD,), (FIRST, SECOND), 5)
    assert [*state.left_running()] == [THIRD, FIRST, SECOND]


def test_journal_without_a_file_is_discarded(cache: Path) -> None:
    Journal(cache).append(1, [FIRST])
    assert load(cache, 1) is None
    assert [*cache.parent.iterdir()] == []
