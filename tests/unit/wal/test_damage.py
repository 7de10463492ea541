"""1,008 damaged logs: the right decision for each, by where the damage lies."""

from collections import Counter

import pytest
from damage import KINDS, PLACES, SEEDS_EACH, make_case

from faultlab.raft.messages import Entry, HardState
from faultlab.raft.storage.errors import DamagedLog

CASES = [(kind, where, seed) for kind in KINDS for where in PLACES for seed in range(SEEDS_EACH)]


@pytest.mark.parametrize(("kind", "where", "seed"), CASES)
def test_a_damaged_log_is_refused_or_cut_off_by_where_the_damage_lies(
    kind: str, where: str, seed: int
) -> None:
    case = make_case(kind, where, seed)
    before = case.image()
    if case.refused:
        with pytest.raises(DamagedLog) as raised:
            case.open()
        assert raised.value.path == case.damaged
        assert f"byte {raised.value.offset}" in str(raised.value)
        assert case.image() == before, "a refused log must be left as it is"
        return
    storage, recovered = case.open()
    assert case.expected is not None
    assert all(entry in case.written for entry in recovered.entries), "an entry was invented"
    assert recovered.snapshot == case.snapshot
    assert recovered.entries == [e for e in case.expected.entries if e.index > case.snapshot.index]
    assert recovered.hard_state.term == case.expected.hard_state.term
    assert recovered.hard_state.vote == case.expected.hard_state.vote

    last = recovered.entries[-1] if recovered.entries else recovered.snapshot
    more = Entry(last.index + 1, 99, b"more")
    storage.add_entries([more])
    storage.add_hard_state(HardState(99, "demo-1", 0))
    storage.close()
    storage, again = case.open()
    assert again.entries == [*recovered.entries, more], "a log must go on behind a tail that was cut off"
    assert again.truncated_bytes == 0
    storage.close()


def test_acknowledged_groups_are_lost_in_the_stated_case_only() -> None:
    """The log's end, synced and then zeroed or cut by the disk. In all other cases what must come back is all
    that was acknowledged, which the test above holds."""
    cases: Counter[str] = Counter()
    for kind, where, seed in CASES:
        cases[f"{where}/{kind}"] += make_case(kind, where, seed).lost_groups > 0
    assert +cases == {f"last/{kind}": SEEDS_EACH for kind in ("cut", "torn", "zeroed")}


def test_a_torn_tail_says_what_was_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    storage, recovered = make_case("cut", "beyond", 1).open()
    storage.close()
    assert recovered.truncated_bytes > 0
    assert f"cut off {recovered.truncated_bytes} bytes" in caplog.text
