"""What an API server's refusals mean, in words that say what to do."""

import re
from typing import Any

import httpx

from faultlab_cli.kubeconfig import INSTALL

FORBIDDEN = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)" '
    r'in API group "(?P<group>[^"]*)"(?: in the namespace "(?P<namespace>[^"]*)")?'
)


def unreachable(url: str, origin: str, error: httpx.TransportError) -> str:
    """Why no answer came from the API server of `origin` (a context, or the embedded world)."""
    cause = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in cause:
        return (
            f"the API server at {url} shows a certificate that {origin} does not trust: the cluster was made "
            "anew, or this is another one; kind's credentials are renewed by `kind export kubeconfig`"
        )
    return f"the API server at {url} ({origin}) does not answer: {cause}; is that cluster running?"


def refused(http_status: int, status: dict[str, Any], origin: str) -> str:
    """The server's own message, or a clearer one for credentials and permissions."""
    message = str(status.get("message") or f"the API server answered {http_status}")
    if http_status == 401:
        return (
            f"the API server refuses the credentials of {origin} ({message}): they are wrong or ran out; "
            "renew them (kind: `kind export kubeconfig`) or name another context"
        )
    if http_status == 403 and (match := FORBIDDEN.search(message)):
        return _forbidden(match, origin)
    return message


def _forbidden(match: re.Match[str], origin: str) -> str:
    resource = match["resource"] + (f".{match['group']}" if match["group"] else "")
    namespace = match["namespace"]
    where = f"in namespace {namespace}" if namespace else "in the whole cluster"
    kind = "Role" if namespace else "ClusterRole"
    return (
        f"{match['user']} ({origin}) may not {match['verb']} {resource} {where}: "
        f"a {kind} with that permission has to be bound to this user"
    )


def not_installed(origin: str, what: str) -> str:
    """For a cluster that lacks a kind of the lab's."""
    return f"{origin} does not know {what}: Faultlab's CRDs are not installed there. {INSTALL}"
