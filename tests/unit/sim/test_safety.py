"""Each promise is broken once by hand, and only then reported."""

import pytest

from faultlab.raft.configuration import Configuration
from faultlab.raft.messages import Entry, HardState, SnapshotMeta
from faultlab.raft.storage.store import Recovered
from faultlab.sim.safety import Safety, ShadowLog

THREE = Configuration(("a", "b", "c"))


def _entries(*terms: int, first: int = 1) -> list[Entry]:
    return [Entry(index, term, b"%d" % index) for index, term in enumerate(terms, first)]


def _recovered(
    entries: list[Entry],
    state: HardState | None = None,
    uuid: str = "u",
    snapshot: SnapshotMeta | None = None,
) -> Recovered:
    last_term = entries[-1].term if entries else 0
    return Recovered(state or HardState(last_term), snapshot or SnapshotMeta(), entries, 0, uuid, {})


class _Cluster:
    """Members whose logs are written by hand."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.safety = Safety(lambda _, what: self.broken.append(what.partition(":")[0]))
        self.logs: dict[str, ShadowLog] = {
            name: self.safety.started(name, _recovered([])) for name in THREE.voters
        }

    def write(self, member: str, *terms: int, first: int = 1) -> None:
        entries = _entries(*terms, first=first)
        self.safety.written(member, entries, self.logs[member])
        self.safety.synced(member, entries, None, None)

    def commit(self, member: str, index: int, term: int) -> None:
        self.safety.committed(member, index, term, self.logs[member], (THREE,))


@pytest.fixture
def cluster() -> _Cluster:
    return _Cluster()


def test_a_cluster_that_does_everything_right_breaks_nothing(cluster: _Cluster) -> None:
    cluster.safety.elected("a", 1, cluster.logs["a"])
    cluster.write("a", 1, 1)
    cluster.write("b", 1, 1)
    cluster.commit("a", 2, 1)
    cluster.safety.applied("b", _entries(1, 1))
    cluster.write("c", 1, 1)
    cluster.safety.elected("c", 2, cluster.logs["c"])
    cluster.write("c", 2, first=3)
    cluster.safety.started("c", _recovered(_entries(1, 1, 2)))

    assert cluster.broken == []


def test_two_leaders_of_one_term_break_election_safety(cluster: _Cluster) -> None:
    cluster.safety.elected("a", 3, cluster.logs["a"])
    cluster.safety.elected("b", 3, cluster.logs["b"])

    assert cluster.broken == ["election safety"]


def test_an_index_and_a_term_with_two_entries_break_log_matching(cluster: _Cluster) -> None:
    cluster.write("a", 1)
    cluster.safety.written("b", [Entry(1, 1, b"other")], cluster.logs["b"])

    assert cluster.broken == ["log matching"]


def test_one_entry_behind_two_different_ones_breaks_log_matching(cluster: _Cluster) -> None:
    cluster.write("a", 1, 3)
    cluster.write("b", 2, 3)

    assert cluster.broken == ["log matching"]


def test_what_is_kept_behind_a_snapshot_that_contradicts_it_breaks_log_matching(cluster: _Cluster) -> None:
    cluster.write("a", 1, 1, 1)
    cluster.safety.installed("a", SnapshotMeta(2, 2), 3, cluster.logs["a"])

    assert cluster.broken == ["log matching"]


def test_a_commit_that_a_majority_has_not_synced_breaks_commitment(cluster: _Cluster) -> None:
    cluster.write("a", 1)
    cluster.commit("a", 1, 1)

    assert cluster.broken == ["commitment"]


def test_in_joint_consensus_both_halves_must_have_it(cluster: _Cluster) -> None:
    cluster.write("a", 1)
    cluster.write("b", 1)
    joint = Configuration(("a", "b"), ("b", "c", "d"))
    cluster.safety.committed("a", 1, 1, cluster.logs["a"], (joint,))

    assert cluster.broken == ["commitment"]


def test_an_entry_of_an_old_term_committed_by_counting_breaks_commitment(cluster: _Cluster) -> None:
    """Figure 8 of the paper: c, which lacks it, could still be elected and replace it."""
    cluster.write("a", 1, 2)
    cluster.write("b", 1, 2)
    cluster.write("c", 1, 3)
    cluster.commit("a", 2, 4)

    assert cluster.broken == ["commitment"]


def test_a_leader_without_a_committed_entry_breaks_leader_completeness(cluster: _Cluster) -> None:
    cluster.write("a", 1)
    cluster.write("b", 1)
    cluster.commit("a", 1, 1)
    cluster.safety.elected("c", 2, cluster.logs["c"])

    assert cluster.broken == ["leader completeness"]


def test_another_entry_applied_than_was_committed_breaks_state_machine_safety(cluster: _Cluster) -> None:
    cluster.write("a", 1)
    cluster.write("b", 1)
    cluster.commit("a", 1, 1)
    cluster.safety.applied("c", _entries(2))

    assert cluster.broken == ["state machine safety"]


def test_two_states_after_the_same_entry_break_state_machine_safety(cluster: _Cluster) -> None:
    cluster.safety.state("a", 16, "one")
    cluster.safety.state("b", 16, "other")

    assert cluster.broken == ["state machine safety"]


def test_a_member_that_gives_up_a_committed_entry_is_reported(cluster: _Cluster) -> None:
    cluster.write("a", 1)
    cluster.write("b", 1)
    cluster.commit("a", 1, 1)
    cluster.safety.written("a", _entries(2), cluster.logs["a"])

    assert cluster.broken == ["no committed entry is lost"]


@pytest.mark.parametrize(
    "comes_back",
    [
        _recovered(_entries(1, 2), HardState(3, "b")),
        _recovered(_entries(1, 2, 2), HardState(2, "b")),
        _recovered(_entries(1, 2, 2), HardState(3, None)),
    ],
    ids=["without an entry", "with an earlier term", "without its vote"],
)
def test_a_member_that_comes_back_with_less_than_it_had_synced_breaks_its_promise(
    cluster: _Cluster, comes_back: Recovered
) -> None:
    cluster.write("a", 1, 2, 2)
    cluster.safety.synced("a", [], HardState(3, "b"), None)
    cluster.safety.started("a", comes_back)

    assert cluster.broken == ["promise"]


def test_a_log_cut_short_because_a_snapshot_or_another_leader_replaced_it_is_no_broken_promise(
    cluster: _Cluster,
) -> None:
    cluster.write("a", 1, 1, 1)
    cluster.safety.started("a", _recovered(_entries(1, 2), HardState(2)))
    cluster.write("b", 1, 1, 1)
    cluster.safety.started("b", _recovered([], HardState(5), snapshot=SnapshotMeta(2, 4)))

    assert cluster.broken == []
