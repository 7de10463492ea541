"""`faultlab check`: what is printed, and the exit code."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from faultlab.checker.cli import run
from faultlab.history import Event, write_events

History = Callable[..., list[Event]]


def ran(path: Path, model: str, *, as_json: bool = False, time_limit_s: float = 10) -> tuple[int, str]:
    out = io.StringIO()
    return run(path, model, time_limit_s, as_json, out), out.getvalue()


@pytest.fixture
def stale(tmp_path: Path, history: History) -> Path:
    rows = [
        (0, "write", 1, 0, 2_000_000),
        (0, "write", 2, 3_000_000, 4_000_000),
        (1, "read", 1, 5_000_000, 6_500_000),
    ]
    path = tmp_path / "stale.ndjson"
    write_events(path, history(*rows, (2, "write", 3, 6_000_000, 6_000_000, "info")))
    return path


def test_valid_is_0(tmp_path: Path, history: History) -> None:
    path = tmp_path / "h.ndjson"
    write_events(path, history((0, "write", 1, 0, 1), (1, "read", 1, 2, 3)))
    code, text = ran(path, "register")
    assert code == 0
    assert text.startswith("valid: 2 operations on 1 key have an order (model register")


def test_invalid_is_1_with_the_window_as_a_table(stale: Path) -> None:
    code, text = ran(stale, "register")
    assert code == 1
    assert text.startswith("invalid: 3 operations on k have no order: after write 1, write 2")
    table = text.splitlines()[2:]
    assert table[0].split()[:4] == ["order", "event", "process", "operation"]
    assert [line.split()[0] for line in table[1:4]] == ["1", "2", "-"]
    assert "read -> 1" in table[3]
    assert "5.000" in table[3]
    assert table[3].rstrip().endswith("|")
    assert table[1].index("|") < table[2].index("|") < table[3].index("|"), "bars follow time"


def test_invalid_as_json_has_the_window_in_full(stale: Path) -> None:
    code, text = ran(stale, "register", as_json=True)
    found = json.loads(text)
    assert code == 1
    assert (found["result"], found["model"], found["key"], found["keys"]) == ("invalid", "register", "k", 1)
    assert found["elapsedMs"] > 0
    assert [(o["process"], o["f"], o["start"], o["end"]) for o in found["window"]] == [
        (0, "write", 0, 2_000_000),
        (0, "write", 3_000_000, 4_000_000),
        (1, "read", 5_000_000, 6_500_000),
    ]


def test_unknown_is_2(stale: Path) -> None:
    code, text = ran(stale, "register", time_limit_s=0)
    assert code == 2
    assert text.startswith("unknown: out of time after 0 s")


@pytest.mark.parametrize(
    ("name", "content", "model", "says"),
    [
        ("missing.ndjson", None, "register", "missing.ndjson: cannot be read: No such file"),
        ("broken.ndjson", b"{nothing\n", "register", "broken.ndjson, line 1: not a history event"),
        ("binary.ndjson", b"\xff\xfe\x00\n", "register", "binary.ndjson, line 1"),
        (
            "pair.ndjson",
            b'{"process":1,"type":"ok","f":"read","key":"k","value":1,"time":1}\n',
            "register",
            "pair.ndjson: event 1 (process 1, ok read k): ok completes nothing",
        ),
        ("model.ndjson", b"", "queue", "there is no model 'queue'"),
    ],
)
def test_what_cannot_be_judged_is_2_with_the_reason(
    name: str,
    content: bytes | None,
    model: str,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    code, text = ran(path, model)
    assert (code, text) == (2, "")
    assert says in capsys.readouterr().err
    code, text = ran(path, model, as_json=True)
    assert code == 2
    assert json.loads(text)["result"] == "unknown"
    assert says in json.loads(text)["error"]


def test_a_directory_is_no_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(tmp_path, "register")[0] == 2
    assert "cannot be read" in capsys.readouterr().err
