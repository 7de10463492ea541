"""Out of time or memory is `unknown`: never a guess, and never late."""

import time
from collections.abc import Callable

from faultlab.checker import check
from faultlab.history import Event

History = Callable[..., list[Event]]


def hopeless(history: History, clients: int = 26) -> list[Event]:
    """All clients write at once, few values, and then swap in a way that no order explains."""
    rows = [(n, "write", n % 13, 0, 100) for n in range(clients)]
    rows += [(100 + n, "cas", [n % 13, (n * 5 + 1) % 13], 0, 100) for n in range(clients)]
    return history(*rows, (500, "read", 99, 200, 201), (501, "write", 99, 0, 1), (502, "write", 98, 150, 160))


def test_out_of_time_is_unknown_and_says_so(history: History) -> None:
    started = time.monotonic()
    found = check(hopeless(history), "cas-register", time_limit_s=0.3)
    assert found.result == "unknown"
    assert "out of time after 0.3 s, at k" in found.message
    assert time.monotonic() - started < 5
    assert found.window == ()


def test_out_of_memory_is_unknown_and_says_so(history: History) -> None:
    found = check(hopeless(history), "cas-register", time_limit_s=60, memory_limit_mb=1)
    assert found.result == "unknown"
    assert "out of memory: more than 1 MiB, at k" in found.message


def test_a_hard_key_does_not_hide_that_another_is_invalid(history: History) -> None:
    easy = history((900, "read", 5, 0, 1, "ok", 5, "z"))
    found = check([*hopeless(history), *easy], "cas-register", time_limit_s=30)
    assert (found.result, found.key) == ("invalid", "z")


def test_no_time_at_all_is_unknown_even_for_an_easy_history(history: History) -> None:
    assert check(history((0, "write", 1, 0, 1)), "register", time_limit_s=0).result == "unknown"
