"""One transaction of nftables messages over netlink, with pyroute2's encoders and socket.

pyroute2's own `NFTables.table()`, `chain()` and so on send one message a transaction. A cut must come whole
or not at all, so this module hands several messages to the kernel between one begin and one commit.
"""

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pyroute2.netlink import NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES, nfgen_msg, nftsocket
from pyroute2.nftables.main import NFTables

from faultlab_chaos.errors import KernelRefused

Message = Any
Attributes = Sequence[tuple[str, Any]]

PREROUTING: Final = 0
BEFORE_CONNTRACK: Final = -350
"""Conntrack hooks at -200, the raw table at -300: packets of established connections pass here too."""
_BATCH_BEGIN: Final = 0x10
_BATCH_END: Final = 0x11
_ACCEPT: Final = 1
_DROP: Final = 0
_NETWORK_HEADER: Final = 1
_SOURCE_OFFSET_BYTES: Final = 12
_ADDRESS_BYTES: Final = 4
_IPV4_KEY_TYPE: Final = nftsocket.DATA_TYPE_IPADDR
_COMMENT_MAX_BYTES: Final = 250


class Kernel:
    """nftables of the network namespace in which it was opened."""

    def __init__(self, sockets: NFTables) -> None:
        self._sockets = sockets

    def commit(self, messages: Sequence[Message]) -> None:
        """All of them or none. Raises KernelRefused with the errno of the first that failed."""
        try:
            list(self._sockets.nlm_request_batch([_mark(_BATCH_BEGIN), *messages, _mark(_BATCH_END)]))
        except NetlinkError as error:
            raise _refused(error) from error

    def tables(self) -> set[str]:
        """The names of all IPv4 tables."""
        return {table.get_attr("NFTA_TABLE_NAME") for table in self._dump(self._sockets.get_tables)}

    def set_comments(self, set_name: str) -> dict[str, bytes]:
        """Table -> the comment of its set of that name (empty where there is none)."""
        comments = {}
        for found in self._dump(self._sockets.get_sets):
            if found.get_attr("NFTA_SET_NAME") == set_name:
                user_data = dict(found.get_attr("NFTA_SET_USERDATA") or [])
                comments[found.get_attr("NFTA_SET_TABLE")] = user_data.get("NFTNL_UDATA_SET_COMMENT", b"")
        return comments

    def elements(self, table: str, set_name: str) -> dict[str, int]:
        """IPv4 address -> milliseconds until it times out. Raises KernelRefused if there is no such set."""
        query = nftsocket.nft_set_elem_list_msg()
        query["attrs"] = [["NFTA_SET_ELEM_LIST_TABLE", table], ["NFTA_SET_ELEM_LIST_SET", set_name]]
        remaining = {}
        for part in self._dump(self._sockets.request_get, query, nftsocket.NFT_MSG_GETSETELEM):
            for element in part.get_attr("NFTA_SET_ELEM_LIST_ELEMENTS") or []:
                key = element.get_attr("NFTA_SET_ELEM_KEY").get_attr("NFTA_DATA_VALUE")
                left_ms = element.get_attr("NFTA_SET_ELEM_EXPIRATION")
                remaining[socket.inet_ntoa(key)] = int(left_ms or 0)
        return remaining

    def _dump(self, request: Any, *arguments: Any) -> list[Any]:
        try:
            return list(request(*arguments))
        except NetlinkError as error:
            raise _refused(error) from error


@contextmanager
def kernel() -> Iterator[Kernel]:
    """Opens nftables of the calling thread's network namespace, and closes all its descriptors."""
    try:
        sockets = NFTables()
    except OSError as error:
        raise KernelRefused(f"no netfilter netlink here: {error.strerror}", error.errno or 0) from error
    try:
        yield Kernel(sockets)
    finally:
        sockets.close()


def add_table(name: str) -> Message:
    return _message(
        nftsocket.nft_table_msg, nftsocket.NFT_MSG_NEWTABLE, NLM_F_CREATE, [("NFTA_TABLE_NAME", name)]
    )


def delete_table(name: str) -> Message:
    """With its chains, sets and rules."""
    return _message(nftsocket.nft_table_msg, nftsocket.NFT_MSG_DELTABLE, 0, [("NFTA_TABLE_NAME", name)])


def add_arrival_chain(table: str, name: str) -> Message:
    """A base chain that sees every packet that arrives in the namespace, before conntrack does."""
    hook = _nest([("NFTA_HOOK_HOOKNUM", PREROUTING), ("NFTA_HOOK_PRIORITY", BEFORE_CONNTRACK)])
    return _message(
        nftsocket.nft_chain_msg,
        nftsocket.NFT_MSG_NEWCHAIN,
        NLM_F_CREATE,
        [
            ("NFTA_CHAIN_TABLE", table),
            ("NFTA_CHAIN_NAME", name),
            ("NFTA_CHAIN_TYPE", "filter"),
            ("NFTA_CHAIN_HOOK", hook),
            ("NFTA_CHAIN_POLICY", _ACCEPT),
        ],
    )


def add_address_set(table: str, name: str, comment: bytes) -> Message:
    """A set of IPv4 addresses, each with its own timeout. A comment that is too long is left out."""
    attributes: list[tuple[str, Any]] = [
        ("NFTA_SET_TABLE", table),
        ("NFTA_SET_NAME", name),
        ("NFTA_SET_ID", 1),
        ("NFTA_SET_KEY_TYPE", _IPV4_KEY_TYPE),
        ("NFTA_SET_KEY_LEN", _ADDRESS_BYTES),
        ("NFTA_SET_FLAGS", {"NFT_SET_TIMEOUT"}),
    ]
    if comment and len(comment) <= _COMMENT_MAX_BYTES:
        attributes.append(("NFTA_SET_USERDATA", [("NFTNL_UDATA_SET_COMMENT", comment)]))
    return _message(nftsocket.nft_set_msg, nftsocket.NFT_MSG_NEWSET, NLM_F_CREATE, attributes)


def add_drop_rule(table: str, chain: str, set_name: str) -> Message:
    """`ip saddr @set drop`."""
    load_source: Attributes = [
        ("NFTA_PAYLOAD_DREG", 1),
        ("NFTA_PAYLOAD_BASE", _NETWORK_HEADER),
        ("NFTA_PAYLOAD_OFFSET", _SOURCE_OFFSET_BYTES),
        ("NFTA_PAYLOAD_LEN", _ADDRESS_BYTES),
    ]
    look_up: Attributes = [("NFTA_LOOKUP_SET", set_name), ("NFTA_LOOKUP_SREG", 1)]
    verdict = _nest([("NFTA_DATA_VERDICT", _nest([("NFTA_VERDICT_CODE", _DROP)]))])
    drop: Attributes = [("NFTA_IMMEDIATE_DREG", 0), ("NFTA_IMMEDIATE_DATA", verdict)]
    expressions = [("payload", load_source), ("lookup", look_up), ("immediate", drop)]
    return _message(
        nftsocket.nft_rule_msg,
        nftsocket.NFT_MSG_NEWRULE,
        NLM_F_CREATE | NLM_F_APPEND,
        [
            ("NFTA_RULE_TABLE", table),
            ("NFTA_RULE_CHAIN", chain),
            (
                "NFTA_RULE_EXPRESSIONS",
                [_nest([("NFTA_EXPR_NAME", name), ("NFTA_EXPR_DATA", _nest(a))]) for name, a in expressions],
            ),
        ],
    )


def flush_set(table: str, name: str) -> Message:
    """Takes every element out; an empty set is no error."""
    return _message(
        nftsocket.nft_set_elem_list_msg, nftsocket.NFT_MSG_DELSETELEM, 0, _elements_of(table, name)
    )


def add_addresses(table: str, name: str, addresses: Sequence[str], timeout_ms: int) -> Message:
    elements = [
        _nest(
            [
                ("NFTA_SET_ELEM_KEY", _nest([("NFTA_DATA_VALUE", socket.inet_aton(address))])),
                ("NFTA_SET_ELEM_TIMEOUT", timeout_ms),
            ]
        )
        for address in addresses
    ]
    attributes = [*_elements_of(table, name), ("NFTA_SET_ELEM_LIST_ELEMENTS", elements)]
    return _message(nftsocket.nft_set_elem_list_msg, nftsocket.NFT_MSG_NEWSETELEM, NLM_F_CREATE, attributes)


def _elements_of(table: str, name: str) -> list[tuple[str, Any]]:
    return [("NFTA_SET_ELEM_LIST_TABLE", table), ("NFTA_SET_ELEM_LIST_SET", name)]


def _nest(attributes: Attributes) -> dict[str, Any]:
    return {"attrs": list(attributes)}


def _message(kind: Any, number: int, flags: int, attributes: Attributes) -> Message:
    message = kind()
    message["attrs"] = [list(attribute) for attribute in attributes]
    message["header"]["type"] = NFNL_SUBSYS_NFTABLES << 8 | number
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | flags
    message["nfgen_family"] = nftsocket.NFPROTO_IPV4
    return message


def _mark(number: int) -> Message:
    message = nfgen_msg()
    message["res_id"] = NFNL_SUBSYS_NFTABLES
    message["header"]["type"] = number
    message["header"]["flags"] = NLM_F_REQUEST
    return message


def _refused(error: NetlinkError) -> KernelRefused:
    advice = {
        errno.EPERM: "the agent needs CAP_NET_ADMIN in the pod's network (a privileged container)",
        errno.EOPNOTSUPP: "this kernel has no nftables with sets: load nf_tables (modprobe nf_tables)",
        errno.EINVAL: "this kernel has no nftables (modprobe nf_tables), or one too old for this rule",
        errno.ENOENT: "a table, set or module of nftables is missing (modprobe nf_tables)",
    }.get(error.code, "see GET /v1/capabilities")
    return KernelRefused(f"nftables refused: {os.strerror(error.code)}; {advice}", error.code)
