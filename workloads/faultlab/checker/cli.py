"""`faultlab check FILE --model M`: the verdict and an invalid history's window, as text or JSON."""

import sys
from pathlib import Path
from typing import TextIO

import msgspec

from faultlab.checker.check import check
from faultlab.checker.errors import CheckerError
from faultlab.checker.explain import in_words
from faultlab.checker.result import CheckResult
from faultlab.history.events import HistoryError, read_events
from faultlab.history.operations import Operation

EXIT_CODES = {"valid": 0, "invalid": 1, "unknown": 2}
_BAR = 44
_MOST_ROWS = 60


def run(path: Path, model: str, time_limit_s: float, as_json: bool, out: TextIO) -> int:
    """Judges the history at `path`, writes what was found to `out`, and gives the exit code.

    0 valid, 1 invalid, 2 unknown; 2 also where there is nothing to judge (the file cannot be read, is no
    history, or the model does not exist): then the reason goes to standard error, or into the JSON.
    """
    try:
        result = check(read_events(path), model, time_limit_s=time_limit_s)
    except OSError as error:
        return _failed(f"{path}: cannot be read: {error.strerror or error}", as_json, out)
    except HistoryError as error:
        text = str(error)
        return _failed(text if text.startswith(str(path)) else f"{path}: {text}", as_json, out)
    except CheckerError as error:
        return _failed(str(error), as_json, out)
    if as_json:
        print(msgspec.json.encode(result).decode(), file=out)
    else:
        print(render(result), file=out)
    return EXIT_CODES[result.result]


def _failed(why: str, as_json: bool, out: TextIO) -> int:
    if as_json:
        print(msgspec.json.encode({"result": "unknown", "error": why}).decode(), file=out)
    else:
        print(f"faultlab check: {why}", file=sys.stderr)
    return 2


def render(result: CheckResult) -> str:
    """The result as text: one line, and for an invalid history a table with a bar for each operation."""
    lines = [f"{result.result}: {result.message} (model {result.model}, {result.elapsed_ms / 1000:.2f} s)"]
    if result.window:
        lines += ["", *_table(result)]
    return "\n".join(lines)


def _table(result: CheckResult) -> list[str]:
    shown = result.window[:_MOST_ROWS]
    first = min(operation.start for operation in shown)
    last = max(operation.start if operation.end is None else operation.end for operation in shown)
    places = {index: str(place) for place, index in enumerate(result.order, start=1)}
    rows = [("order", "event", "process", "operation", "member", "from ms", "to ms", "")]
    rows.extend(
        (
            places.get(operation.index, "-"),
            str(operation.index),
            str(operation.process),
            in_words(operation) + (" (info)" if operation.outcome == "info" else ""),
            operation.member or "",
            f"{operation.start / 1e6:.3f}",
            "?" if operation.end is None else f"{operation.end / 1e6:.3f}",
            _bar(operation, first, last),
        )
        for operation in shown
    )
    widths = [max(len(row[column]) for row in rows) for column in range(7)]
    lines = ["  ".join([*map(str.ljust, row[:7], widths), row[7]]).rstrip() for row in rows]
    if len(result.window) > len(shown):
        lines.append(f"... and {len(result.window) - len(shown)} more (all of them with --json)")
    lines.append("")
    if result.window_from_start:
        lines.append("order: places in the longest order that was found; - has none.")
    else:
        lines.append("What went before is left out: no state at all before these operations explains them.")
    return lines


def _bar(operation: Operation, first: int, last: int) -> str:
    """The operation's time as a bar: |---| from start to end, |---> for one that never ended."""
    span = max(1, last - first)
    start = (operation.start - first) * (_BAR - 1) // span
    if operation.end is None:
        return " " * start + "|" + "-" * (_BAR - start - 1) + ">"
    end = (operation.end - first) * (_BAR - 1) // span
    return " " * start + ("|" if end == start else "|" + "-" * (end - start - 1) + "|")
