"""What the operator's own HTML pages share: the report's look, one script, and a policy that allows no more.

Style and script are inline and named by their hashes in the Content-Security-Policy, so markup that
slipped into a page would neither run nor load anything.
"""

import functools
from html import escape
from importlib import resources
from string import Template
from typing import Final

from aiohttp import web

from faultlab_operator.http.guard import CLOSED
from faultlab_operator.report.inline import source_hash

_LOOK: Final = ("faultlab_operator.report", "page.css")
_OWN: Final = "faultlab_operator.http"


def html_page(title: str, body: str) -> web.Response:
    """A whole page, which fetches itself again while it is looked at; values in `body` are escaped."""
    assets = _assets()
    text = assets.template.substitute(
        title=escape(title), style=assets.style, script=assets.script, body=body
    )
    return web.Response(
        text=text, content_type="text/html", headers={"Content-Security-Policy": assets.policy}
    )


class _Assets:
    def __init__(self) -> None:
        self.template = Template(_read(_OWN, "page.html"))
        self.style = _read(*_LOOK) + _read(_OWN, "pages.css")
        self.script = _read(_OWN, "refresh.js")
        self.policy = (
            f"{CLOSED}; style-src {source_hash(self.style)}; script-src {source_hash(self.script)}; "
            "connect-src 'self'; img-src data:"
        )


@functools.cache
def _assets() -> _Assets:
    return _Assets()


def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath("assets", name).read_text(encoding="utf-8")
