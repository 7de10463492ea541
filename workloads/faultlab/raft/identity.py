"""Under which id a member runs, and when it must not.

An id has voted and acknowledged entries. Coming back without them it could vote a second time in a term, or
make a majority of members that lack a committed entry (paper, 5.2 and 5.4; thesis, 11.7.3 on lost disks).
So an id is never revived with less than it had: the member is replaced, which gives it a new id, and the
new one joins as a learner that has promised nothing.
"""

from pathlib import Path
from typing import Literal

import msgspec

from faultlab.contract.member import RaftConfig
from faultlab.runtime.files import FileSystem

from .configuration import Configuration, NodeId
from .errors import RaftError
from .membership import address_of
from .storage.directories import age_of, ids_of, is_initialised


class IdentityRefused(RaftError):
    """This member must not run under its id: what the id had promised is not here."""


class Identity(msgspec.Struct, frozen=True):
    """How a process starts."""

    id: NodeId
    start: Literal["bootstrap", "join", "restart"]
    """bootstrap: one of the first members of a new cluster; join: a learner of one that runs, which
    waits for its leader; restart: with what it has kept."""


def choose_identity(files: FileSystem, config: RaftConfig, name: str) -> Identity:
    """The id of the member `name`, and how it starts; raises IdentityRefused.

    The id: the later one of what the configuration says and the newest in the data directory, else the
    name. A configuration file may be read before it is told of a replacement.
    """
    data_dir = Path(config.data_dir)
    configured = next((peer.id for peer in config.members if peer.name == name), None)
    kept = ids_of(files, data_dir, name)
    member_id = max((*kept, configured or name), key=age_of)
    if is_initialised(files, data_dir, member_id):
        return Identity(member_id, "restart")
    if member_id != name:
        return Identity(member_id, "join")
    # reviveEmpty switches this guard off, and nothing else: tests show what is lost then.
    if (config.initial_state == "new" and configured is None) or config.break_rule == "reviveEmpty":
        return Identity(member_id, "bootstrap")
    raise IdentityRefused(
        f"{data_dir / member_id} holds no log, and {member_id!r} is a member of the cluster"
        f" {config.cluster!r} already: what it had voted and acknowledged is lost, so it must not come back"
        " under this id. Restore its directory, or replace the member: POST /membership with replace to the"
        " leader, or start it with --replace"
    )


def first_configuration(config: RaftConfig, identity: Identity) -> Configuration | None:
    """What the data directory of a new cluster's member begins with: all members vote. None for any other:
    a joiner begins with nobody, and who comes back knows better."""
    if identity.start != "bootstrap":
        return None
    addresses = {peer.name: address_of(peer) for peer in config.members}
    return Configuration(tuple(addresses), (), (), addresses)
