"""The same requests to the embedded API server and to a real one get the same answers: code, warnings, body.

What may differ (uids, times, versions, generated names) is removed first; what differs for a reason is
declared next to the conversations, and listed in docs/embedded.md.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from parity.book import ALL_DECLARED, CONVERSATIONS
from parity.conversation import CATEGORIES, Conversation
from parity.player import Found

# The session's servers start in the first test and go in the last, which waits for namespaces on a cluster.
pytestmark = [pytest.mark.parity, pytest.mark.timeout(600)]
DOCS = Path(__file__).parents[2] / "docs" / "embedded.md"
AT_LEAST_IN_ALL = 150
AT_LEAST_IN_EACH = 10


@pytest.mark.parametrize("talk", CONVERSATIONS, ids=lambda talk: talk.id)
def test_both_servers_answer_alike(record: Any, talk: Conversation) -> None:
    unexpected = [found for found in record.of(talk) if not _declared(found)]
    assert not unexpected, "\n" + _listed(unexpected)


def test_every_declared_difference_is_seen(record: Any) -> None:
    every = [found for talk in CONVERSATIONS for found in record.of(talk)]
    unused = [
        f"{declared.id}: {match}"
        for declared in ALL_DECLARED
        for match in declared.matches
        if match.always and not any(match.covers(found.step, found.difference) for found in every)
    ]
    assert not unused, "these differ no more: remove them here and from docs/embedded.md"


def test_every_declared_difference_is_documented_with_its_reason() -> None:
    text = DOCS.read_text()
    missing = [declared.row for declared in ALL_DECLARED if declared.row not in text]
    assert not missing, "rows for docs/embedded.md, Differences found by comparison:\n" + "\n".join(missing)


def test_every_documented_difference_is_declared() -> None:
    _, _, table = DOCS.read_text().partition("## Differences found by comparison")
    rows = [line for line in table.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    assert sorted(rows) == sorted(declared.row for declared in ALL_DECLARED)


def test_every_category_is_compared_often_enough() -> None:
    counts: Counter[str] = Counter()
    for talk in CONVERSATIONS:
        counts[talk.category] += talk.count()
    few = {category: counts[category] for category in CATEGORIES if counts[category] < AT_LEAST_IN_EACH}
    assert not few, f"fewer than {AT_LEAST_IN_EACH} compared requests"
    assert counts.total() >= AT_LEAST_IN_ALL


def test_no_two_conversations_share_a_name() -> None:
    twice = [name for name, count in Counter(talk.id for talk in CONVERSATIONS).items() if count > 1]
    assert not twice


def _declared(found: Found) -> bool:
    return any(
        match.covers(found.step, found.difference) for declared in ALL_DECLARED for match in declared.matches
    )


def _listed(found: list[Found]) -> str:
    lines: list[str] = []
    for item in found:
        if f"--- {item.step}" not in lines:
            lines.append(f"--- {item.step}")
        lines.append(f"    {item.difference}")
    return "\n".join(lines)
