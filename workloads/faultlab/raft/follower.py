"""What a follower does with its leader's appends and heartbeats (paper, 5.3 and figure 2).

The log matching property rests on one check: an append is taken only where the entry before it is the
same as the leader's. A leader that contradicts what is committed here, or sends other data under the same
index and term, is none, or this member has lost something: BadState, for whatever is served from then on may
be wrong. Where a test of the lab has switched a guard off, in all members alike, the core reports it
(InvariantViolated) and then does what a member without that assertion would do, so that the damage is seen:

- committed entries contradicted by the leader: they are replaced (see `RaftLog.truncate`);
- an entry of the same index and term but other data: the own one stays.
"""

from .errors import BadState, MalformedMessage
from .log import configurations_in
from .messages import Append, AppendResponse, Entry, Heartbeat, HeartbeatResponse
from .state import State


def take_append(state: State, append: Append) -> None:
    """Brings the log in line with the leader's and answers, once synced, how far it is.

    Raises BadState for an append that breaks a promise, unless a rule is broken on purpose.
    """
    log = state.log
    prev, entries = append.prev_index, append.entries
    _check_shape(append)
    configurations = configurations_in(entries)
    if not (log.matches(prev, append.prev_term) or _appends_anywhere(state, prev)):
        _reject(state, append)
        return
    last_new = prev + len(entries)
    if prev < log.offset:
        entries = entries[log.offset - prev :]
        prev = log.offset
    if prev < log.last_index and entries:
        entries = _resolve_overlap(state, append, prev, entries)
    if entries:
        first = entries[0].index
        log.append(entries)
        if configurations:
            log.history.extend(found for found in configurations if found[0] >= first)
    log.commit = max(log.commit, min(append.commit, last_new))
    state.after_persist.append(AppendResponse(state.id, append.sender, state.term, last_new, False, 0, 0))


def take_heartbeat(state: State, heartbeat: Heartbeat) -> None:
    """Learns the commit index, and vouches for the round: no later term was known when it came."""
    log = state.log
    log.commit = max(log.commit, min(heartbeat.commit, log.last_index))
    promise = state.promise
    outbox = state.messages if promise.synced else state.after_persist
    outbox.append(
        HeartbeatResponse(state.id, heartbeat.sender, state.term, heartbeat.round, promise.length_ns)
    )


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


def _appends_anywhere(state: State, prev: int) -> bool:
    """Whether the term of the entry before an append does not matter: what appendAnywhere switches off."""
    return state.config.break_rule == "appendAnywhere" and prev <= state.log.last_index


def _reject(state: State, append: Append) -> None:
    """Hints where the logs may agree: no higher than where this log's terms are not beyond the leader's.

    What this member has compacted is committed, so the logs agree there.
    """
    log = state.log
    hint = max(log.last_not_after(append.prev_index, append.prev_term), log.offset)
    state.after_persist.append(
        AppendResponse(state.id, append.sender, state.term, append.prev_index, True, hint, log.term(hint))
    )


def _resolve_overlap(state: State, append: Append, prev: int, entries: list[Entry]) -> list[Entry]:
    """Keeps what agrees and drops the log from the first conflict on; returns what is to be appended."""
    log = state.log
    mine = log.range(prev + 1, prev + len(entries))
    same = len(mine)
    # Equal terms at the end mean equal terms throughout; only a conflict is searched for.
    if mine[-1].term != entries[same - 1].term:
        same = next(at for at, entry in enumerate(mine) if entry.term != entries[at].term)
    if mine[:same] != entries[:same]:
        _report_mismatch(state, append, mine, entries)
    if same < len(mine):
        lost = mine[same]
        if lost.index <= log.commit:
            _contradicted(
                state,
                "leader completeness",
                f"entry {lost.index} of term {lost.term} was committed, and {append.sender}, leader of term"
                f" {append.term}, replaces it by one of term {entries[same].term}"
                f" (commit index {log.commit}, last {log.last_index})",
                lost.index,
            )
        log.truncate(lost.index - 1)
    return entries[same:]


def _report_mismatch(state: State, append: Append, mine: list[Entry], entries: list[Entry]) -> None:
    differing = next(entry for entry, theirs in zip(mine, entries, strict=False) if entry != theirs)
    _contradicted(
        state,
        "log matching",
        f"entry {differing.index} of term {differing.term} holds other data here than at {append.sender},"
        f" leader of term {append.term}",
        differing.index,
    )


def _contradicted(state: State, promise: str, detail: str, index: int) -> None:
    if state.config.break_rule is None:
        raise BadState(
            f"{promise}: {detail}; this member ends before it serves anything else. Compare the members' logs"
            " and applied digests before it is started again"
        )
    state.violated(promise, detail, index)
