"""Payloads: what is JSON, and that it cannot be changed."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections import UserDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.random_dispatches import json_values
from trio_dispatch.model.payload import Payload, freeze_number

CONTENT = {"a": [1, {"b": True}], "big": 2**53, "text": "電池", "none": None}


def test_numbers_are_floats_and_lists_are_tuples() -> None:
    payload = Payload(CONTENT)
    assert payload == {"a": [1.0, {"b": True}], "big": float(2**53), "text": "電池", "none": None}
    assert payload["a"] == (1.0, {"b": True})
    match payload["a"]:
        case [float(), {"b": True}]:
            pass
        case other:
            raise AssertionError(other)


def test_nothing_in_it_can_be_changed() -> None:
    payload: Any = Payload(CONTENT)
    with pytest.raises(TypeError):
        payload["a"] = 1
    with pytest.raises(TypeError):
        payload["a"][0] = 1
    with pytest.raises(TypeError):
        payload["a"][1]["b"] = False


def test_the_content_is_copied() -> None:
    content: dict[str, Any] = {"a": [1]}
    payload = Payload(content)
    content["a"].append(2)
    assert payload == {"a": [1]}


@given(st.dictionaries(st.text(), json_values))
def test_it_is_a_value(content: dict[str, Any]) -> None:
    payload = Payload(content)
    plain = payload.to_dict()
    assert payload == content == plain
    assert json.loads(json.dumps(plain)) == plain
    for same in (Payload(plain), Payload(UserDict(content)), copy.deepcopy(payload)):
        assert same == payload
        assert hash(same) == hash(payload)
    assert pickle.loads(pickle.dumps(payload)) == payload


def test_a_nan_from_the_wire_equals_itself() -> None:
    one, two = (Payload.unchecked({"n": freeze_number(float("nan"))}) for _ in range(2))
    assert one == two == Payload(one)


LOOP: dict[str, Any] = {}
LOOP["a"] = [LOOP]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([("a", 1)], r"payload \[\('a', 1\)\] is not a mapping"),
        ({"a": [1, object()]}, r"payload\['a'\]\[1\]: <object .* is not JSON; use None, bool,"),
        ({"a": b"x"}, r"payload\['a'\]: b'x' is not JSON"),
        ({"a": {1}}, r"payload\['a'\]: \{1\} is not JSON"),
        ({1: 2}, "payload: the key 1 is not a str"),
        ({"a": {2: 2}}, r"payload\['a'\]: the key 2 is not a str"),
        ({"a": 10**400}, r"payload\['a'\]: 10+\.\.\. is too large for a float"),
        ({"a": 10**5000}, r"payload\['a'\]: \(a number of 16610 bits\) is too large for a float"),
        ({"a": math.nan}, r"payload\['a'\]: nan is not JSON: numbers are finite"),
        ({"a": [-math.inf]}, r"payload\['a'\]\[0\]: -inf is not JSON"),
        ({"a": "x\ud800"}, r"payload\['a'\]: 'x\\ud800' has a lone surrogate, '\\ud800'"),
        ({"\udfff": 1}, r"payload: the key '\\udfff' has a lone surrogate"),
        (LOOP, "payload is nested too deeply, or contains itself"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Payload(content)
