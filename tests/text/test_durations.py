"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_dispatch.model.formatting import format_duration
from trio_dispatch.text.durations import parse_duration

WORDS = {86_400: "d day days", 3600: "h hr hrs hour hours", 60: "m min mins minute minutes"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90m", 5400),
        ("1h30m", 5400),
        ("1H 30M", 5400),
        ("01:30:00", 5400),
        ("1:30", 5400),
        ("100:00:01", 360_001),
        ("2 days", 172_800),
        ("1 day, 2 hours and 3 seconds", 93_603),
        ("1.5h", 5400),
        ("PT1H30M", 5400),
        ("P1DT1S", 86_401),
        ("p2w", 1_209_600),
        ("PT0.5H", 1800),
        ("0", 0),
        ("pulse", 0),
        ("0s", 0),
        ("4294967295s", 4_294_967_295),
    ],
)
def test_what_a_text_means(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["forever", "none", "NONE", "without end"])
def test_forever(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("90", "use 90s, 90m or 90h"),
        ("", "use 90m"),
        ("x", "use 90m"),
        ("1y", "use 90m"),
        ("-5m", "use 90m"),
        ("P", "use 90m"),
        ("PT", "use 90m"),
        ("1:60", "use 90m"),
        ("0.5s", "not a whole number of seconds"),
        ("4294967296s", "use forever"),
        ("9" * 400 + "d", "use forever"),
    ],
)
def test_an_invalid_duration_is_answered_with_examples(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint) as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


@given(st.none() | st.integers(0, 2**32 - 1).map(lambda s: timedelta(seconds=s)))
def test_formatted_values_can_be_parsed(duration: timedelta | None) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.data())
def test_units_add_up(data: st.DataObject) -> None:
    total, parts = 0, []
    for seconds, words in WORDS.items():
        number = data.draw(st.integers(0, 1000))
        word = data.draw(st.sampled_from(words.split()))
        space = data.draw(st.sampled_from(["", " "]))
        total += number * seconds
        parts.append(f"{number}{space}{word}")
    assert parse_duration(data.draw(st.sampled_from([" ", ", ", " and "])).join(parts)) == (
        timedelta(seconds=total)
    )


@given(st.text(max_size=12))
def test_any_text_is_parsed_or_refused_by_name(text: str) -> None:
    try:
        parse_duration(text)
    except ValueError as exc:
        assert repr(text) in str(exc)  # noqa: PT017
