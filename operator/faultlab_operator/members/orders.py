"""What the operator tells members to do: POSTs to the admin port, with proof of the cluster's key."""

from typing import Final

import aiohttp
import msgspec

from faultlab.contract.member import (
    KEY_HEADER,
    MembershipReply,
    MembershipRequest,
    TransferReply,
    TransferRequest,
)
from faultlab_operator.errors import MemberRefused, MemberUnreachable

LONGEST_S: Final = 10.0
"""However long an election timeout is, an order is waited for no longer."""
_REFUSED_FROM: Final = 300

_decode_membership = msgspec.json.Decoder(MembershipReply).decode
_decode_transfer = msgspec.json.Decoder(TransferReply).decode


def patience_s(election_timeout_s: float) -> float:
    """How long an order may take: a leader that hands over gives that up after one and a half election
    timeouts."""
    return min(1.5 * election_timeout_s + 1.5, LONGEST_S)


class _Refusal(msgspec.Struct):
    """What a member may say beside a status that is no success."""

    error: str = ""
    leader: str | None = None


async def change_membership(
    http: aiohttp.ClientSession, base: str, proof: str, request: MembershipRequest, timeout_s: float
) -> MembershipReply:
    """Tells the leader at `base` who shall decide. Raises MemberRefused (another member leads, the proof is
    not accepted, the request is wrong), MemberUnreachable."""
    body = await _post(http, f"{base}/membership", proof, msgspec.json.encode(request), timeout_s)
    try:
        return _decode_membership(body)
    except msgspec.DecodeError as error:
        raise MemberUnreachable(f"{base}/membership: no answer that can be read: {error}") from error


async def hand_over(
    http: aiohttp.ClientSession, base: str, proof: str, to: str | None, timeout_s: float
) -> str | None:
    """Has the leader at `base` hand over, to the member named or to the best there is; who leads then, as
    far as it knows. Raises MemberRefused (it did not get rid of it), MemberUnreachable."""
    body = await _post(http, f"{base}/transfer", proof, msgspec.json.encode(TransferRequest(to)), timeout_s)
    try:
        return _decode_transfer(body).leader
    except msgspec.DecodeError as error:
        raise MemberUnreachable(f"{base}/transfer: no answer that can be read: {error}") from error


async def _post(http: aiohttp.ClientSession, url: str, proof: str, body: bytes, timeout_s: float) -> bytes:
    headers = {KEY_HEADER: proof, "Content-Type": "application/json"}
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with http.post(url, data=body, headers=headers, timeout=timeout) as response:
            answer = await response.read()
            if response.status >= _REFUSED_FROM:
                raise _refusal(url, response.status, answer)
            return answer
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise MemberUnreachable(f"{url}: {error or type(error).__name__}") from error


def _refusal(url: str, status: int, answer: bytes) -> MemberRefused:
    try:
        said = msgspec.json.decode(answer, type=_Refusal)
    except msgspec.DecodeError:
        said = _Refusal(answer.decode(errors="replace")[:300].strip())
    words = said.error or ("another member leads" if said.leader else f"it answered {status}")
    return MemberRefused(f"{url}: {words}", status, said.leader)
