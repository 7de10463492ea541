"""What the documentation points at exists."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def links(page: Path) -> list[str]:
    found = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    return [link for link in found if "://" not in link]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in links(page) if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_commands_name_exist(page: Path) -> None:
    lines = [line for line in page.read_text().splitlines() if line.startswith("    ")]
    named = [
        word
        for line in lines
        for word in shlex.split(line.replace("'", ""), comments=True)
        if re.fullmatch(r"(chaos|benchmarks|tests|charts)/\S+", word)
    ]
    assert not [word for word in named if not (ROOT / word).exists()]
