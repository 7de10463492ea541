"""The space-time diagram draws what happened, and the text says it."""

import itertools
import json

from faultlab.raft.messages import Append, Entry, Heartbeat, encode
from faultlab.sim.diagram import Headline, diagram_data, render
from faultlab.sim.loop import MS
from faultlab.sim.trace import TraceEvent
from faultlab.sim.words import lines

APPEND = encode([Append("m0", "m1", 3, 4, 2, 4, [Entry(5, 3, b"x")])])
HEARTBEAT = encode([Heartbeat("m0", "m1", 3, 4, 7)])


def _frame(kind: str, at_ms: int, number: int, data: bytes = APPEND) -> TraceEvent:
    return TraceEvent(
        at_ns=at_ms * MS, kind=kind, member="m0", other="m1", number=number, text="16", data=data
    )


def _event(at_ms: int, kind: str, member: str = "m0", **fields: object) -> TraceEvent:
    return TraceEvent(at_ns=at_ms * MS, kind=kind, member=member, **fields)


EVENTS = [
    _event(0, "started", other="m0", number=1),
    _event(0, "started", "m1", other="m1", number=1),
    _event(10, "role", term=3, text="leader"),
    _frame("sent", 20, 1),
    _frame("sent", 21, 2, HEARTBEAT),
    _frame("received", 25, 1),
    _frame("received", 27, 1),
    _frame("dropped", 26, 2, HEARTBEAT),
    _frame("sent", 30, 3),
    _event(31, "paused", "m1"),
    _event(35, "resumed", "m1"),
    _event(40, "crashed", text="power"),
    _event(41, "invoke", "m1", number=7, text="SET k </script>"),
    _event(60, "violation", text="election safety: two leaders"),
]


def test_a_message_is_an_arrow_for_each_arrival_and_says_what_became_of_the_others() -> None:
    messages = diagram_data(EVENTS)["messages"]

    assert [message[2:4] + message[5:] for message in messages] == [
        [20 * MS, 25 * MS, 0, 0],
        [20 * MS, 27 * MS, 0, 0],  # it was repeated
        [21 * MS, 26 * MS, 1, 1],  # a heartbeat, dropped
        [30 * MS, 60 * MS, 0, 2],  # still under way
    ]
    assert messages[0][4] == "append 5, term 3, commit 4"


def test_lanes_are_covered_from_the_start_to_the_end_without_a_gap() -> None:
    data = diagram_data(EVENTS)

    for lane, states in ((0, ["follower", "leader", "down"]), (1, ["follower", "paused", "follower"])):
        spans = [span for span in data["spans"] if span[0] == lane]
        assert [span[3] for span in spans] == states
        assert (spans[0][1], spans[-1][2]) == (0, 60 * MS)
        assert all(before[2] == after[1] for before, after in itertools.pairwise(spans))


def test_an_operation_without_an_answer_reaches_to_the_end() -> None:
    assert diagram_data(EVENTS)["operations"] == [[7, 41 * MS, 60 * MS, "m1: SET k </script>", "no answer"]]


def test_the_page_holds_the_whole_run_and_no_value_of_a_client_ends_its_script() -> None:
    page = render(Headline("Seed 1", "election safety: two leaders", {"seed": "1"}), EVENTS)

    document = page.split("const data = ", 1)[1].split(";\nconst by", 1)[0]
    assert json.loads(document.replace("<\\/", "</"))["lanes"] == ["m0", "m1"]
    assert page.count("</script>") == 1
    assert "://" not in page, "the page needs nothing from anywhere else"


def test_the_text_leaves_heartbeats_out_unless_they_are_wanted() -> None:
    short, long = list(lines(EVENTS)), list(lines(EVENTS, heartbeats=True))

    assert len(long) - len(short) == 2
    assert "    0.020000  m0 --> m1  #1 append 5, term 3, commit 4" in short
    assert short[-1] == "    0.060000  VIOLATION election safety: two leaders"
