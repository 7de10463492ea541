"""Under which id a member runs, and when it must not.

An id has voted and acknowledged entries. Coming back without them it could vote a second time in a term, or
make a majority of members that lack a committed entry (paper, 5.2 and 5.4; thesis, 11.7.3 on lost disks).
So an id is never revived with less than it had: the member is replaced, which gives it a new id, and the
new one joins as a learner that has promised nothing.

    DATA_DIR/demo-2/       of the id `demo-2`, a member since the cluster's beginning
    DATA_DIR/demo-2#57/    of the id that replaced it: a new id never sees the old one's data
"""

import re
import shutil
from pathlib import Path
from typing import Literal

import msgspec

from faultlab.contract.member import RaftConfig

from .errors import RaftError
from .messages import NodeId

_JOINED = re.compile(r"#([1-9][0-9]*)$")
_NOT_DATA = ("lock",)


class IdentityRefused(RaftError):
    """This member must not run under its id: what the id had promised is not here."""


class Identity(msgspec.Struct, frozen=True):
    """How a process starts."""

    id: NodeId
    start: Literal["bootstrap", "join", "restart"]
    """bootstrap: one of the first members of a new cluster; join: a learner of one that runs, which
    waits for its leader; restart: with what it has kept."""


def choose_identity(config: RaftConfig, name: str) -> Identity:
    """The id of the member `name`, and how it starts; raises IdentityRefused.

    The id: what the configuration says, else the newest in the data directory, else the name.
    """
    data_dir = Path(config.data_dir)
    if (data_dir / "wal").is_dir():
        raise IdentityRefused(
            f"{data_dir} holds the log of an earlier version of faultlab-node, which this one cannot read;"
            " start it with that version, or give the whole cluster new data directories"
        )
    configured = next((peer.id for peer in config.members if peer.name == name), None)
    member_id = configured or max(ids_kept(data_dir, name), key=joined_at, default=name)
    if holds_data(data_dir / member_id):
        return Identity(member_id, "restart")
    if joined_at(member_id):
        return Identity(member_id, "join")
    if (config.initial_state == "new" and configured is None) or config.break_rule == "reviveEmpty":
        return Identity(member_id, "bootstrap")
    raise IdentityRefused(
        f"{data_dir / member_id} is empty, and {member_id!r} is a member of the cluster {config.cluster!r}"
        " already: what it had voted and acknowledged is lost, so it must not come back under this id."
        " Restore its directory, or replace the member: POST /membership with replace to the leader,"
        " or start it with --replace"
    )


def joined_at(member_id: NodeId) -> int:
    """N of `name#N`: the log index at which the id was first added; 0 for a member of the beginning."""
    found = _JOINED.search(member_id)
    return int(found.group(1)) if found else 0


def ids_kept(data_dir: Path, name: str) -> list[NodeId]:
    """The ids of the member `name` that have data here."""
    if not data_dir.is_dir():
        return []
    pattern = re.compile(re.escape(name) + r"(#[1-9][0-9]*)?")
    return [entry.name for entry in data_dir.iterdir() if pattern.fullmatch(entry.name) and holds_data(entry)]


def holds_data(directory: Path) -> bool:
    """Whether anything durable is there: a process that was killed before that may begin again."""
    return any(
        path.is_file() and path.name not in _NOT_DATA and path.suffix != ".new"
        for path in directory.rglob("*")
    )


def remove_older(data_dir: Path, member_id: NodeId) -> list[NodeId]:
    """Removes what earlier ids of the same name left; which. Call it once `member_id` has a vote."""
    name = member_id.partition("#")[0]
    older = [kept for kept in ids_kept(data_dir, name) if joined_at(kept) < joined_at(member_id)]
    for kept in older:
        shutil.rmtree(data_dir / kept)
    return older
