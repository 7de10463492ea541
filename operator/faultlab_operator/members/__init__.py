"""Following members and loads: their statuses by polling, their events without a gap."""

from faultlab_operator.members.hub import MembersHub
from faultlab_operator.members.loads import LoadsHub

__all__ = ["LoadsHub", "MembersHub"]
