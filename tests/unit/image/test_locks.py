"""The image's locks against the ranges of pyproject.toml."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = ("node", "load", "agent", "operator")
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+?))? \\$", re.M)


def pins(lock: str) -> dict[str, str]:
    found = PINNED.finditer((ROOT / lock).read_text())
    return {canonicalize_name(pin["name"]): pin["version"] for pin in found}


def wanted() -> list[tuple[str, Requirement]]:
    extras = PROJECT["project"]["optional-dependencies"]
    image = PROJECT["project"]["dependencies"] + [one for extra in EXTRAS for one in extras[extra]]
    build = PROJECT["build-system"]["requires"]
    return [("requirements.lock", Requirement(one)) for one in image] + [
        ("requirements-build.lock", Requirement(one)) for one in build
    ]


@pytest.mark.parametrize(("lock", "requirement"), wanted(), ids=str)
def test_each_dependency_is_locked_within_its_range(lock: str, requirement: Requirement) -> None:
    version = pins(lock).get(canonicalize_name(requirement.name))
    assert version, f"{requirement.name} is not in {lock}: make lock"
    assert requirement.specifier.contains(version), f"{version} is outside {requirement}: make lock"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-build.lock"])
def test_each_pin_has_hashes_of_more_than_this_machines_file(lock: str) -> None:
    """A source archive and a wheel at least, so that another processor finds its file too."""
    blocks = re.split(r"^(?=[A-Za-z0-9])", (ROOT / lock).read_text(), flags=re.M)
    hashes = {block.split("==")[0]: block.count("--hash=sha256:") for block in blocks if "==" in block}
    assert hashes
    assert len(hashes) == len(pins(lock)), "a pin that this test cannot read"
    compiled = {"msgspec", "aiohttp", "gevent", "greenlet", "uvloop", "hiredis", "pydantic-core", "pyzmq"}
    assert not [name for name, count in hashes.items() if count < 1]
    assert not [name for name in compiled & hashes.keys() if hashes[name] < 10]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-build.lock"])
def test_a_lock_names_no_index(lock: str) -> None:
    assert not re.search(r"^\s*-(-index|-extra|-find|i )|://", (ROOT / lock).read_text(), re.M)


def test_what_the_image_does_without_is_not_locked() -> None:
    """The command line, the embedded world and the developers' tools stay out."""
    environment = default_environment()
    extras = PROJECT["project"]["optional-dependencies"]
    others = [Requirement(one) for extra in ("embedded", "cli", "dev") for one in extras[extra]]
    own = {requirement.name for _, requirement in wanted()}
    # What kopf, lightkube and locust bring along themselves.
    brought = {"greenlet", "httpx", "jsonpatch", "pytest"}
    extra = {
        canonicalize_name(one.name)
        for one in others
        if one.name not in own | brought | {"faultlab"}
        and (not one.marker or one.marker.evaluate(environment))
    }
    assert not extra & pins("requirements.lock").keys()
