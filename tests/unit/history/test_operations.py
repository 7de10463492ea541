"""Pairing events into operations, and refusing histories that are not well formed."""

from pathlib import Path

import pytest

from faultlab.history import Event, HistoryError, pair_events, read_events, write_events


def event(process: int | str, kind: str, f: str, value: object, time: int, **more: object) -> Event:
    return Event(process, kind, f, "k", value, time, **more)  # type: ignore[arg-type]


def test_an_operation_has_its_question_its_answer_and_its_times() -> None:
    write, read = pair_events(
        [
            event(0, "invoke", "write", 1, 10, member="demo-0"),
            event(1, "invoke", "read", None, 12),
            event(1, "ok", "read", 1, 15),
            event(0, "fail", "write", 1, 20, error="NOTLEADER"),
        ]
    )
    assert (write.index, write.value, write.outcome, write.start, write.end) == (1, 1, "fail", 10, 20)
    assert (write.member, write.error) == ("demo-0", "NOTLEADER")
    assert (read.index, read.value, read.result, read.outcome, read.start, read.end) == (
        2,
        None,
        1,
        "ok",
        12,
        15,
    )


def test_info_and_operations_that_never_ended_are_open_for_ever() -> None:
    lost, unfinished = pair_events(
        [
            event(0, "invoke", "write", 1, 0),
            event(0, "info", "write", 1, 5),
            event(1, "invoke", "write", 2, 6),
        ]
    )
    assert [(lost.outcome, lost.end), (unfinished.outcome, unfinished.end)] == [
        ("info", None),
        ("info", None),
    ]


def test_uncertainty_widens_both_ends() -> None:
    (found,) = pair_events(
        [
            event(0, "invoke", "write", 1, 100, uncertainty_ns=7),
            event(0, "ok", "write", 1, 200, uncertainty_ns=9),
        ]
    )
    assert (found.start, found.end) == (93, 209)


def test_processes_that_are_no_clients_are_passed_over() -> None:
    assert (
        pair_events([event("nemesis", "info", "cut", None, 1), event("nemesis", "info", "heal", None, 2)])
        == []
    )


def test_the_order_of_lines_of_different_processes_does_not_matter() -> None:
    one = [event(0, "invoke", "write", 1, 10), event(0, "ok", "write", 1, 20)]
    other = [event(1, "invoke", "read", None, 5), event(1, "ok", "read", 1, 15)]
    assert {op.process: op.start for op in pair_events(one + other)} == {0: 10, 1: 5}


@pytest.mark.parametrize(
    ("events", "names"),
    [
        (
            [event(3, "invoke", "read", None, 1), event(3, "invoke", "read", None, 2)],
            ["event 2", "process 3", "still has an open operation", "event 1"],
        ),
        ([event(3, "ok", "read", 1, 1)], ["event 1", "process 3", "ok completes nothing"]),
        (
            [
                event(3, "invoke", "write", 1, 1),
                event(3, "info", "write", 1, 2),
                event(3, "invoke", "read", None, 3),
            ],
            ["event 3", "process 3", "info at event 2", "new number"],
        ),
        ([event(3, "invoke", "read", None, 5), event(3, "ok", "read", 1, 4)], ["event 2", "time 4", "5"]),
        (
            [event(3, "invoke", "read", None, 1), event(3, "ok", "write", 1, 2)],
            ["event 2", "write", "event 1", "read"],
        ),
        ([event(3, "invoke", "read", None, 1, uncertainty_ns=-1)], ["event 1", "uncertaintyNs", "-1"]),
    ],
    ids=["two open", "no invocation", "after info", "time goes back", "another operation", "uncertainty"],
)
def test_a_history_that_is_not_well_formed_is_refused_by_name(events: list[Event], names: list[str]) -> None:
    with pytest.raises(HistoryError) as refused:
        pair_events(events)
    assert all(name in str(refused.value) for name in names), refused.value


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    events = [
        event(0, "invoke", "cas", [None, {"a": 1}], 1),
        event(0, "ok", "cas", [None, {"a": 1}], 2, term=3),
    ]
    assert write_events(tmp_path / "h.ndjson", events) == 2
    assert list(read_events(tmp_path / "h.ndjson")) == events


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b'{"process": 1}',
        b'{"process":1,"type":"maybe","f":"read","key":"k","value":1,"time":1}',
        b"\xff",
    ],
)
def test_a_line_that_is_no_event_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "h.ndjson"
    path.write_bytes(
        b'\n{"process":1,"type":"invoke","f":"read","key":"k","value":null,"time":1}\n' + line + b"\n"
    )
    with pytest.raises(HistoryError, match=r"h\.ndjson, line 3"):
        list(read_events(path))
