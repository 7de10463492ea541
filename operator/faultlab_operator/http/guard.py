"""What browsers may do here, on ports that know no authentication and that may be mapped to a localhost.

Any web page can make its reader's browser send requests to localhost. So:

- a request must name this server as its users do (Host): an IP address, localhost, a cluster's service
  name, or the host of FAULTLAB_PAGES_URL or FAULTLAB_LOCUST_URL. A name that its owner lets point here
  (DNS rebinding) is refused. Programs that come through pods/proxy, which passes on the name of the API
  server, send PROGRAM_HEADER: pages cannot make a browser send a header whose name begins with Sec-.
- a request that changes something must come from this server's own pages (Origin). What stands between
  (pods/proxy of an API server) says in X-Forwarded-Host how the browser named it; no page can make a
  browser send that header elsewhere, since no preflight is ever allowed here.
- Locust changes things by GET too, which `own_page_only` refuses to other sites' pages by Sec-Fetch-Site.
"""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
PROGRAM_HEADER: Final = "Sec-Faultlab"
SERVICE_SUFFIXES: Final = (".svc", ".svc.cluster.local", ".localhost")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
CLOSED: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The content security policy of everything that does not bring its own."""


def guarded(urls: tuple[str, ...]) -> Middleware:
    """The middleware; `urls` are the addresses under which people know the lab's pages."""
    known = frozenset(filter(None, (urlsplit(url).hostname for url in urls)))

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        authority = request.headers.get("Host", "")
        if PROGRAM_HEADER not in request.headers and not is_known_host(authority, known):
            raise web.HTTPForbidden(
                text=f"the host {authority[:200]!r} is not known here: use an IP address or localhost, or "
                "set FAULTLAB_PAGES_URL to the address that you use\n"
            )
        if request.method not in SAFE_METHODS and not _from_own_page(request):
            raise web.HTTPForbidden(text="requests that change something are only taken from the same site\n")
        return await handler(request)

    return guard


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """A signal handler of `on_response_prepare`: on every answer, refusals too."""
    headers = response.headers
    headers.setdefault("Content-Security-Policy", CLOSED)
    headers.setdefault("Cache-Control", "no-store")
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"


def is_known_host(authority: str, known: frozenset[str]) -> bool:
    """Whether a Host header names this server in a way that no stranger's DNS can."""
    host = _split(f"//{authority}")[0]
    if not host or "@" in authority:
        return False
    host = host.rstrip(".")
    if host in known or host == "localhost" or host.endswith(SERVICE_SUFFIXES):
        return True
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def own_page_only(request: web.Request) -> None:
    """Raises HTTPForbidden where the browser says that another site's page made it ask."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise web.HTTPForbidden(text="this is only served to pages of the same site\n")


def _from_own_page(request: web.Request) -> bool:
    """Programs send no Origin; a browser always does with what changes something."""
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
    scheme = urlsplit(origin).scheme if _split(origin)[0] else ""
    ours = [request.headers.get(name, "") for name in ("Host", "X-Forwarded-Host")]
    return any(_same(origin, f"{scheme}://{authority}") for authority in ours if authority)


def _same(one: str, other: str) -> bool:
    first, second = _split(one), _split(other)
    return bool(first[0]) and first == second


def _split(url: str) -> tuple[str, int | None]:
    """Host and port, the scheme's own where none is given; an empty host for what is no address."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return "", None
