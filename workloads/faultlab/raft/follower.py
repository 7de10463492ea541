"""What a follower does with its leader's appends and heartbeats (paper, 5.3 and figure 2).

The log matching property rests on one check: an append is taken only where the entry before it is the
same as the leader's. What the core sees broken it reports (InvariantViolated) and then does what a
member without that assertion would do, so that tests of the lab see the damage:

- committed entries contradicted by the leader: they are replaced (see `RaftLog.truncate`);
- an entry of the same index and term but other data: the own one stays.
"""

from .errors import MalformedMessage
from .messages import Append, AppendResponse, Entry, Heartbeat, HeartbeatResponse
from .state import State


def take_append(state: State, append: Append) -> None:
    """Brings the log in line with the leader's and answers, once synced, how far it is."""
    log = state.log
    entries = append.entries
    _check_shape(append)
    if not log.matches(append.prev_index, append.prev_term):
        _reject(state, append)
        return
    last_new = append.prev_index + len(entries)
    if append.prev_index < log.last_index and entries:
        entries = _resolve_overlap(state, append)
    if entries:
        log.append(entries)
    log.commit = max(log.commit, min(append.commit, last_new))
    state.after_persist.append(AppendResponse(state.id, append.sender, state.term, last_new, False, 0, 0))


def take_heartbeat(state: State, heartbeat: Heartbeat) -> None:
    """Learns the commit index, and vouches for the round: no later term was known when it came."""
    log = state.log
    log.commit = max(log.commit, min(heartbeat.commit, log.last_index))
    state.messages.append(HeartbeatResponse(state.id, heartbeat.sender, state.term, heartbeat.round))


def _check_shape(append: Append) -> None:
    entries, prev = append.entries, append.prev_index
    if prev < 0 or (
        entries
        and (
            entries[0].index != prev + 1
            or entries[-1].index != prev + len(entries)
            or entries[-1].term > append.term
        )
    ):
        raise MalformedMessage(
            f"an append from {append.sender} holds {len(entries)} entries that do not follow entry {prev};"
            f" expected indexes without a gap and no term beyond {append.term}"
        )


def _reject(state: State, append: Append) -> None:
    """Hints where the logs may agree: no higher than where this log's terms are not beyond the leader's."""
    log = state.log
    hint = log.last_not_after(append.prev_index, append.prev_term)
    state.after_persist.append(
        AppendResponse(state.id, append.sender, state.term, append.prev_index, True, hint, log.term(hint))
    )


def _resolve_overlap(state: State, append: Append) -> list[Entry]:
    """Keeps what agrees and drops the log from the first conflict on; returns what is to be appended."""
    log = state.log
    entries = append.entries
    mine = log.range(append.prev_index + 1, append.prev_index + len(entries))
    same = len(mine)
    # Equal terms at the end mean equal terms throughout; only a conflict is searched for.
    if mine[-1].term != entries[same - 1].term:
        same = next(at for at, entry in enumerate(mine) if entry.term != entries[at].term)
    if mine[:same] != entries[:same]:
        _report_mismatch(state, append, mine, same)
    if same < len(mine):
        lost = mine[same]
        if lost.index <= log.commit:
            state.violated(
                "leader completeness",
                f"entry {lost.index} of term {lost.term} was committed, and {append.sender}, leader of term"
                f" {append.term}, replaces it by one of term {entries[same].term}"
                f" (commit index {log.commit}, last {log.last_index})",
                lost.index,
            )
        log.truncate(lost.index - 1)
    return entries[same:]


def _report_mismatch(state: State, append: Append, mine: list[Entry], same: int) -> None:
    differing = next(
        entry for entry, theirs in zip(mine[:same], append.entries, strict=False) if entry != theirs
    )
    state.violated(
        "log matching",
        f"entry {differing.index} of term {differing.term} holds other data here than at {append.sender},"
        f" leader of term {append.term}",
        differing.index,
    )
