"""Histories that a person wrote: what is right, what is wrong, and what is shown of it."""

from collections.abc import Callable
from typing import Any

import pytest

from faultlab.checker import UnknownModelError, check
from faultlab.history import Event, HistoryError

History = Callable[..., list[Event]]
W, R = "write", "read"

# (process, f, value, start, end, outcome = "ok", result = value, key = "k")
BROKEN: dict[str, tuple[str, list[tuple[Any, ...]], set[int]]] = {
    "stale read": (
        "register",
        [(0, W, 1, 0, 1), (0, W, 2, 2, 3), (1, R, 2, 4, 5), (1, R, 1, 6, 7), (0, W, 3, 8, 9)],
        {0, 1, 3},
    ),
    "lost write": (
        "register",
        [(0, W, 1, 0, 1), (1, W, 2, 2, 3), (0, R, 1, 4, 5), (0, R, 1, 6, 7)],
        {0, 1, 2},
    ),
    "acknowledged write never seen": ("register", [(0, W, 1, 0, 1), (1, R, None, 2, 3)], {0, 1}),
    "read from the future": ("register", [(0, R, 1, 0, 1), (1, W, 1, 2, 3), (0, R, 1, 4, 5)], {0}),
    "read from thin air": ("register", [(0, W, 1, 0, 1), (1, R, 9, 2, 3), (0, W, 2, 4, 5)], {1}),
    "two readers disagree about two concurrent writes": (
        "register",
        [(0, W, 1, 0, 9), (1, W, 2, 0, 9), (2, R, 1, 1, 2), (3, R, 2, 3, 4), (2, R, 1, 5, 6)],
        {0, 1, 2, 3, 4},
    ),
    "read of a write that failed": ("register", [(0, W, 1, 0, 1, "fail"), (1, R, 1, 2, 3)], {1}),
    "cas from thin air": ("cas-register", [(0, W, 1, 0, 1), (1, "cas", [5, 6], 2, 3)], {1}),
    "cas by two of the same value": (
        "cas-register",
        [(0, W, 1, 0, 1), (1, "cas", [1, 2], 2, 5), (2, "cas", [1, 3], 2, 5)],
        {0, 1, 2},
    ),
    "a write that nobody saw does not slip in before a cas": (
        "cas-register",
        [(0, W, 1, 0, 1), (1, "cas", [1, 2], 2, 5), (2, W, 3, 2, 5), (3, R, 2, 6, 7), (0, W, 1, 8, 9)],
        {0, 1, 2, 3},
    ),
    "append lost": (
        "append",
        [(0, "append", "a", 0, 1), (0, "append", "b", 2, 3), (1, "get", "a", 4, 5)],
        {0, 1, 2},
    ),
    "append twice": ("append", [(0, "append", "a", 0, 1), (1, "get", "aa", 2, 3)], {0, 1}),
    "appends seen in two orders": (
        "append",
        [(0, "append", "a", 0, 9), (1, "append", "b", 0, 9), (2, "get", "ab", 1, 2), (3, "get", "ba", 3, 4)],
        {0, 1, 2, 3},
    ),
    "a retried append that was applied twice": (
        "mixed",
        [(0, "append", "a,", 0, 1), (1, "append", "b,", 2, 3), (1, R, "a,b,a,", 4, 5), (2, R, None, 0, 1)],
        {0, 1, 2},
    ),
    "a retried incr that was applied twice": (
        "mixed",
        [(0, "incr", None, 0, 1, "ok", 2), (1, R, "2", 2, 3), (1, "incr", None, 4, 5, "ok", 3)],
        {0},
    ),
    "a retried write that came back": (
        "mixed",
        [(0, W, "1", 0, 5), (1, R, "1", 1, 2), (1, W, "2", 3, 4), (1, R, "1", 6, 7)],
        {0, 1, 2, 3},
    ),
    "a stale cluster appends twice": (
        "stale-reads",
        [(0, "append", "a,", 0, 1), (1, R, "a,a,", 2, 3)],
        {0, 1},
    ),
    "a stale cluster's list goes back on itself": (
        "stale-reads",
        [(0, "append", "a,", 0, 1), (0, "append", "b,", 2, 3), (1, R, "a,b,", 4, 5), (2, R, "b,", 4, 5)],
        {0, 1, 2, 3},
    ),
    "a stale cluster counts an incr twice": (
        "stale-reads",
        [(0, "incr", None, 0, 1, "ok", 1), (1, R, "2", 2, 3)],
        {1},
    ),
    "duplicated incr": ("kv", [(0, "incr", 1, 0, 1), (1, "incr", 1, 2, 3)], {0, 1}),
    "incr counted twice": ("kv", [(0, "incr", 1, 0, 1), (1, "incr", 3, 2, 3)], {1}),
    "counted further than anybody may have": (
        "kv",
        [(0, "incr", 1, 0, 1, "info"), (1, "get", "2", 2, 3)],
        {0, 1},
    ),
    "deleted and still there": (
        "kv",
        [(0, "set", "a", 0, 1), (0, "del", 1, 2, 3), (1, "get", "a", 4, 5)],
        {0, 1, 2},
    ),
    "two hold the lock": ("mutex", [(0, "acquire", None, 0, 1), (1, "acquire", None, 2, 3)], {0, 1}),
    "stale cluster makes a value up": ("stale-reads", [(0, W, 1, 0, 1), (1, R, 9, 2, 3)], {1}),
    "stale cluster shows a value early": ("stale-reads", [(1, R, 1, 0, 1), (0, W, 1, 2, 3)], {0}),
    "stale cluster swaps twice": (
        "stale-reads",
        [(0, W, 1, 0, 1), (1, "cas", [1, 2], 2, 3), (2, "cas", [1, 3], 4, 5)],
        {0, 1, 2},
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found_and_shown(name: str, history: History) -> None:
    model, rows, _ = BROKEN[name]
    others = [
        (50 + n, "append" if model == "append" else W, "x", n, n + 3, "ok", ..., "other") for n in range(3)
    ]
    if model == "mutex":
        others = []
    found = check(history(*rows, *others), model)
    assert (found.result, found.key) == ("invalid", "k")
    assert check(history(*rows), model).window, "the window must not be empty"
    assert {operation.key for operation in found.window} == {"k"}


@pytest.mark.parametrize("name", BROKEN)
def test_the_window_holds_the_guilty_and_no_other(name: str, history: History) -> None:
    model, rows, guilty = BROKEN[name]
    events = history(*rows)
    invoked = {(rows[n][0], rows[n][3]) for n in guilty}
    found = check(events, model)
    assert {(operation.process, operation.start) for operation in found.window} == invoked, found.message


SOUND: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "nothing": ("register", []),
    "read sees either side of a concurrent write": (
        "register",
        [(0, W, 1, 0, 1), (0, W, 2, 2, 9), (1, R, 2, 3, 4), (2, R, 2, 5, 6)],
    ),
    "equal times are concurrent": ("register", [(0, W, 1, 0, 5), (1, R, None, 5, 6)]),
    "a write that came back may have come first": (
        "register",
        [(0, W, 1, 0, 9), (1, W, 2, 1, 2), (2, R, 2, 10, 11)],
    ),
    "a missing key reads null": ("register", [(0, R, None, 0, 1)]),
    "a value that was there already, written for later": (
        "cas-register",
        [
            (0, W, 2, 0, 7),
            (1, "cas", [2, 2], 0, 2),
            (2, W, 2, 4, 5),
            (3, W, 1, 5, 6),
            (4, "cas", [2, 3], 9, 10),
        ],
    ),
    "appends": ("append", [(0, "get", None, 0, 1), (0, "append", "a", 2, 3), (1, "get", "a", 4, 5)]),
    "counting": (
        "kv",
        [(0, "incr", 1, 0, 5), (1, "incr", 2, 0, 5), (2, "get", "2", 6, 7), (2, "del", 1, 8, 9)],
    ),
    "a lock handed on": (
        "mutex",
        [(0, "acquire", None, 0, 1), (0, "release", None, 2, 5), (1, "acquire", None, 2, 6)],
    ),
    "keys of three kinds": (
        "mixed",
        [
            (0, W, "1", 0, 1, "ok", "1", "k"),
            (1, R, "1", 2, 3, "ok", "1", "k"),
            (0, "append", "a,", 2, 3, "ok", "a,", "l"),
            (1, R, "a,", 4, 5, "ok", "a,", "l"),
            (0, "incr", None, 4, 5, "ok", 1, "c"),
            (1, R, "1", 6, 7, "ok", "1", "c"),
            (2, R, None, 0, 1, "ok", None, "l"),
        ],
    ),
    "a stale cluster shows a shorter list and a smaller number later": (
        "stale-reads",
        [
            (0, "append", "a,", 0, 1, "ok", "a,", "l"),
            (0, "append", "b,", 2, 3, "ok", "b,", "l"),
            (1, R, "a,b,", 4, 5, "ok", "a,b,", "l"),
            (1, R, "a,", 6, 7, "ok", "a,", "l"),
            (0, "incr", None, 4, 5, "ok", 1, "c"),
            (1, R, None, 8, 9, "ok", None, "c"),
        ],
    ),
    "a stale cluster reads what was once there": (
        "stale-reads",
        [(0, W, 1, 0, 1), (0, W, 2, 2, 3), (1, R, 1, 4, 5), (1, R, None, 6, 7)],
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_is_sound_is_valid(name: str, history: History) -> None:
    model, rows = SOUND[name]
    assert check(history(*rows), model).result == "valid"


class TestInfo:
    """Nobody knows whether it happened, or when."""

    def test_it_may_have_happened(self, history: History) -> None:
        assert check(history((0, W, 1, 0, 1, "info"), (1, R, 1, 2, 3)), "register").result == "valid"

    def test_it_may_not_have_happened(self, history: History) -> None:
        assert check(history((0, W, 1, 0, 1, "info"), (1, R, None, 2, 3)), "register").result == "valid"

    def test_it_may_happen_long_after_it_was_given_up(self, history: History) -> None:
        rows = [(0, W, 1, 0, 1, "info"), (1, W, 2, 2, 3), (1, R, 2, 4, 5), (1, R, 1, 6, 7)]
        assert check(history(*rows), "register").result == "valid"

    def test_it_happens_once(self, history: History) -> None:
        rows = [(0, W, 1, 0, 1, "info"), (1, R, 1, 2, 3), (1, W, 2, 4, 5), (1, R, 1, 6, 7)]
        assert check(history(*rows), "register").result == "invalid"

    def test_it_does_not_happen_before_it_was_asked_for(self, history: History) -> None:
        assert check(history((1, R, 1, 0, 1), (0, W, 1, 2, 3, "info")), "register").result == "invalid"

    def test_a_read_without_an_answer_says_nothing(self, history: History) -> None:
        assert check(history((0, R, 9, 0, 1, "info"), (1, R, None, 2, 3)), "register").result == "valid"

    def test_an_operation_still_open_at_the_end_is_info(self, history: History) -> None:
        for seen in (1, None):
            assert check(history((0, W, 1, 0, 0, "open"), (1, R, seen, 2, 3)), "register").result == "valid"

    def test_chains_of_cas_that_nobody_saw_complete(self, history: History) -> None:
        rows = [(n, "cas", [n or None, n + 1], 0, 1, "info") for n in range(5)]
        assert check(history(*rows, (9, R, 5, 2, 3)), "cas-register").result == "valid"
        assert check(history(*rows, (9, R, 6, 2, 3)), "cas-register").result == "invalid"

    @pytest.mark.parametrize("swap_first", [True, False])
    def test_the_one_that_fits_twice_is_kept_for_where_no_other_fits(
        self, swap_first: bool, history: History
    ) -> None:
        """Two lost operations may explain the first read of 1, but only the write explains the second."""
        swap, write = (2, 3) if swap_first else (3, 2)
        rows = [
            (0, W, 5, 0, 1),
            (1, "cas", [5, 1], swap, swap, "info"),
            (2, W, 1, write, write, "info"),
            (3, R, 1, 4, 5),
            (0, W, 6, 6, 7),
            (3, R, 1, 8, 9),
        ]
        assert check(history(*rows), "cas-register").result == "valid"
        commands = {"read": "get", "write": "set", "cas": "cas"}
        texts = [
            (process, commands[f], [str(x) for x in value] if f == "cas" else str(value), *rest)
            for process, f, value, *rest in rows
        ]
        assert check(history((9, "del", 0, 0, 0), *texts), "kv").result == "valid"


class TestKeys:
    """Each key is judged for itself, unless an operation joins them."""

    def test_other_keys_do_not_excuse(self, history: History) -> None:
        found = check(history((0, W, 1, 0, 1, "ok", ..., "a"), (1, R, 1, 2, 3, "ok", ..., "b")), "register")
        assert (found.result, found.key, found.keys) == ("invalid", "b", 2)

    def test_keys_joined_by_an_operation_are_judged_together(self) -> None:
        events = []
        for process, f, key, value, result, start, end in [
            (0, "set", "x", "1", "OK", 0, 1),
            (0, "set", "y", "1", "OK", 2, 3),
            (1, "mget", None, ["x", "y"], [None, "1"], 0, 4),
        ]:
            events += [
                Event(process, "invoke", f, key, value, start),
                Event(process, "ok", f, key, result, end),
            ]
        found = check(events, "kv")
        assert (found.result, found.key, found.keys) == ("invalid", "x, y", 1)

    def test_numbers_truth_and_text_are_told_apart(self, history: History) -> None:
        for written, seen, verdict in [(1, 1.0, "valid"), (1, True, "invalid"), (1, "1", "invalid")]:
            rows = [(0, W, written, 0, 1), (1, R, seen, 2, 3)]
            assert check(history(*rows), "register").result == verdict, (written, seen)
        assert (
            check(history((0, W, {"a": 1, "b": 2}, 0, 1), (1, R, {"b": 2, "a": 1}, 2, 3)), "register").result
            == "valid"
        )


def test_uncertain_times_are_concurrent() -> None:
    def events(uncertainty: int) -> list[Event]:
        return [
            Event(0, "invoke", W, "k", 1, 0),
            Event(0, "ok", W, "k", 1, 10),
            Event(1, "invoke", R, "k", None, 15, "other", uncertainty),
            Event(1, "ok", R, "k", None, 20, "other", uncertainty),
        ]

    assert check(events(4), "register").result == "invalid"
    assert check(events(5), "register").result == "valid"


@pytest.mark.parametrize(
    ("model", "row", "says"),
    [
        ("register", (0, "cas", [1, 2], 0, 1), "register knows read, write, not cas"),
        ("cas-register", (0, "cas", 1, 0, 1), r"\[expected, new\]"),
        ("cas-register", (0, W, 1, 0, 1, "ok", 2), "asked for 1, but its ok says 2"),
        ("append", (0, "append", 1, 0, 1), "is a string"),
        ("kv", (0, "lpush", "a", 0, 1), "kv knows get, read"),
        ("kv", (0, "incr", "a", 0, 1), "answer of incr is a number"),
        ("kv", (0, "set", [1], 0, 1), "strings or integers"),
        ("mutex", (0, "lock", None, 0, 1), "acquire, release"),
        ("mixed", (0, "put", "a", 0, 1), "append, incr, write, cas, read"),
    ],
)
def test_operations_of_another_model_are_refused(model: str, row: Any, says: str, history: History) -> None:
    with pytest.raises(HistoryError, match=says) as refused:
        check(history(row), model)
    assert "event 1" in str(refused.value)


def test_a_key_is_one_thing_only(history: History) -> None:
    with pytest.raises(HistoryError, match="has made its key something else"):
        check(history((0, W, "1", 0, 1), (0, "append", "a,", 2, 3)), "mixed")


def test_an_unknown_model_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UnknownModelError, match="cas-register, kv, mixed, mutex"):
        check([], "queue")


def test_the_message_says_where_the_orders_end(history: History) -> None:
    found = check(history((0, W, 1, 0, 1), (0, W, 2, 2, 3), (1, R, 1, 4, 5)), "register")
    assert (
        "after write 1, write 2 the state is 2, where read -> 1 (process 1, event 5) cannot follow"
        in found.message
    )
    assert found.order == (1, 3)
