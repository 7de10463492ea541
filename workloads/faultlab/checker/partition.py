"""Which operations must be checked together: those on one key, and on keys that some operation joins."""

from collections.abc import Sequence

from faultlab.checker.models import Model
from faultlab.history.operations import Operation


def partition(operations: Sequence[Operation], model: Model) -> list[tuple[str, list[Operation]]]:
    """The operations that matter, by the names of the keys they touch (several: with commas between).

    Objects on different keys do not know each other, so a history has an order exactly if each part has one
    (Herlihy and Wing, 1990). `fail` operations are left out (they certainly did not happen), and `info` ones
    that only read (they change nothing, and nobody saw an answer). Parts come by name and their
    operations by time, so that nothing depends on hash seeds or on the order of lines of equal times.
    """
    parent: dict[str | None, str | None] = {}

    def root(key: str | None) -> str | None:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    touched: list[tuple[str | None, Operation]] = []
    for operation in operations:
        keys = model.keys(operation)
        for key in keys:
            parent.setdefault(key, key)
        if operation.outcome == "fail" or (operation.outcome == "info" and model.reads_only(operation)):
            continue
        for key in keys[1:]:
            parent[root(key)] = root(keys[0])
        touched.append((keys[0], operation))
    members: dict[str | None, list[str | None]] = {}
    for key in parent:
        members.setdefault(root(key), []).append(key)
    names = {
        top: ", ".join(sorted("(no key)" if key is None else key for key in keys))
        for top, keys in members.items()
    }
    parts: dict[str | None, list[Operation]] = {top: [] for top in members}
    for key, operation in touched:
        parts[root(key)].append(operation)
    for part in parts.values():
        part.sort(key=lambda op: (op.start, op.end is None, op.end or 0, op.process))
    return sorted(((names[top], part) for top, part in parts.items()), key=lambda named: named[0])
