"""The comparison itself: what it sees, what it overlooks on purpose, what a declaration covers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from parity.compare import MISSING, Difference, differences, is_a_name, normalised
from parity.conversation import filled, holds
from parity.declared import Match

pytestmark = pytest.mark.parity
NOW = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("embedded", "real", "path"),
    [
        ({"a": 1}, {"a": 2}, "body.a"),
        ({"a": 1}, {"a": 1.0}, "body.a"),
        ({"a": 1}, {"a": True}, "body.a"),
        ({"a": None}, {}, "body.a"),
        ({"a": ""}, {}, "body.a"),
        ([1, 2], [2, 1], "body[0]"),
        ([{"name": "a"}, {"name": "b"}], [{"name": "b"}, {"name": "a"}], "body.(order)"),
        ([{"name": "a", "x": 1}], [{"name": "a", "x": 2}], "body[a].x"),
        ([{"name": "a"}], [], "body[a]"),
        ([{"name": "a"}, {"name": "a"}], [{"name": "a"}], "body"),
        ([{"type": "ADDED", "object": 1}], [{"type": "ADDED", "object": 2}], "body[0].object"),
    ],
)
def test_whatever_differs_is_found(embedded: Any, real: Any, path: str) -> None:
    assert differences(embedded, real)[0].path == path


def test_what_is_missing_is_told_from_what_is_null() -> None:
    assert differences({}, {"a": None}) == [Difference("body.a", MISSING, None)]


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ({"uid": "x", "resourceVersion": "7"}, {"uid": "<uid>", "resourceVersion": "<resourceVersion>"}),
        ({"resourceVersion": ""}, {"resourceVersion": ""}),
        ({"at": NOW}, {"at": "<time>"}),
        ({"at": "2020-01-01T00:00:00Z"}, {"at": "2020-01-01T00:00:00Z"}),
        ({"cells": ["a", "3m12s", "5/5"]}, {"cells": ["a", "<age>", "5/5"]}),
        ({"generateName": "a-", "name": "a-bcdfg"}, {"generateName": "a-", "name": "a-<generated>"}),
        ({"message": 'in "parity-1": gone'}, {"message": 'in "<ns>": gone'}),
        ({"data": {"k": "v"}}, {"data": {"k": "v"}}),
    ],
)
def test_only_what_each_server_makes_up_is_overlooked(sent: Any, left: Any) -> None:
    assert normalised(sent, {"parity-1": "<ns>"}) == left


def test_two_times_of_one_second_are_not_taken_for_a_name() -> None:
    assert is_a_name("demo-x7f2k")
    assert not any(map(is_a_name, [NOW, "42", 42, "11111111-2222-3333-4444-555555555555"]))


def test_a_declaration_covers_its_place_its_values_and_its_steps_and_nothing_else() -> None:
    match = Match(r"body\.a", "1", "2", r"list/.*")
    assert match.covers("list/x: GET y", Difference("body.a", 1, 2))
    assert not match.covers("list/x: GET y", Difference("body.a.b", 1, 2))
    assert not match.covers("list/x: GET y", Difference("body.a", 1, 3))
    assert not match.covers("list/x: GET y", Difference("body.a", 11, 2))
    assert not match.covers("watch/x: GET y", Difference("body.a", 1, 2))


def test_a_saved_value_keeps_its_type_where_it_stands_alone() -> None:
    names = {"n": 3, "ns": "x"}
    assert filled({"a": "${n}", "b": "/${ns}/${n}"}, names) == {"a": 3, "b": "/x/3"}


@pytest.mark.parametrize(
    ("until", "holds_so"),
    [
        ({"code": 200, "items.#": 2, "items.1.name": "b"}, True),
        ({"code": 404}, False),
        ({"items.#": 3}, False),
        ({"none.there": None}, True),
        (lambda code, body: code == 200 and body["items"], True),
    ],
)
def test_a_step_waits_for_everything_that_it_names(until: Any, holds_so: bool) -> None:
    assert holds(until, 200, {"items": [{"name": "a"}, {"name": "b"}]}) is holds_so
