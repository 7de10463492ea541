"""The fixtures of `pages_lab`."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from .pages_lab import Lab, make_lab, serving


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make_lab(tmp_path)


@pytest_asyncio.fixture
async def page(lab: Lab) -> AsyncIterator[aiohttp.ClientSession]:
    async with serving(lab) as (session, _):
        yield session
