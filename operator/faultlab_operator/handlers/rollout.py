"""Which member to restart next, when the wanted template is not the running one: a pure function.

One at a time, and only while all members are there and have caught up; followers first and the
leader last, so that a rollout costs one election.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from faultlab.contract.run import MemberView
from faultlab_operator.members.summary import summarise
from faultlab_operator.render.common import CONFIG_HASH


def stale_pods(pods: Sequence[Mapping[str, Any]], wanted_hash: str) -> list[str]:
    """Members whose pods were made from another template, by name."""
    return [
        str(pod["metadata"]["name"])
        for pod in pods
        if (pod["metadata"].get("annotations") or {}).get(CONFIG_HASH) != wanted_hash
    ]


def next_to_restart(stale: Sequence[str], views: Mapping[str, MemberView]) -> str | None:
    """The member to restart now; None while it is not safe or nothing is stale."""
    summary = summarise(views)
    if not stale or not summary.agreed or not caught_up(views, summary.leader):
        return None
    followers = [name for name in stale if name != summary.leader]
    return followers[-1] if followers else stale[0]


def caught_up(views: Mapping[str, MemberView], leader: str | None) -> bool:
    """Whether the leader replicates to every other member, as its own status says."""
    view = views.get(leader or "")
    if view is None or view.status is None:
        return False
    peers = view.status.peers
    return all(
        name in peers and peers[name].state == "replicate" for name in views if name != view.status.member
    )
