"""The image of `make kind-load` and `make kind-up`, as its user meets it. No test builds one."""

import json
import re
import subprocess
from typing import Any

import pytest

import faultlab

IMAGE = f"faultlab/faultlab:{faultlab.__version__}"
SIZE_LIMIT_BYTES = 350_000_000
PROGRAMS = ("faultlab-node", "faultlab-load", "faultlab-agent", "faultlab-operator")

CONTENTS = """
import importlib.metadata as metadata, json, platform, sys
from pip._vendor.packaging.requirements import Requirement
broken = []
found = {}
for one in metadata.distributions(path=[p for p in sys.path if p.startswith("/opt/faultlab")]):
    found[one.metadata["Name"].lower().replace("_", "-").replace(".", "-")] = one
for name, one in found.items():
    extras = ("node", "load", "agent", "operator", "") if name == "faultlab" else ("",)
    for line in one.requires or ():
        need = Requirement(line)
        if need.marker and not any(need.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        there = found.get(need.name.lower().replace("_", "-").replace(".", "-"))
        if there is None or not need.specifier.contains(there.version, prereleases=True):
            broken.append(f"{name} wants {line}")
versions = {name: one.version for name, one in found.items()}
print(json.dumps({"broken": broken, "versions": versions}))
"""

pytestmark = [pytest.mark.kind, pytest.mark.timeout(180)]


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120, check=False)


def inside(*command: str) -> subprocess.CompletedProcess[str]:
    """As strictly as a member pod runs, and without a network."""
    confined = (
        "--read-only",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
        "--network",
        "none",
    )
    return docker("run", "--rm", *confined, IMAGE, *command)


@pytest.fixture(scope="module")
def image() -> dict[str, Any]:
    try:
        answer = docker("image", "inspect", IMAGE)
    except FileNotFoundError:
        pytest.skip("no docker here")
    if answer.returncode != 0:
        pytest.skip(f"no docker that has {IMAGE}: make kind-load")
    found: dict[str, Any] = json.loads(answer.stdout)[0]
    return found


def test_it_is_small_unprivileged_and_labelled(image: dict[str, Any]) -> None:
    assert image["Size"] < SIZE_LIMIT_BYTES
    assert image["Config"]["User"] == "65532:65532"
    assert not image["Config"]["Entrypoint"]
    labels = image["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == faultlab.__version__
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", labels["org.opencontainers.image.revision"])


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.usefixtures("image")
def test_each_program_starts_under_a_read_only_root(program: str) -> None:
    answer = inside(program, "--help")
    assert answer.returncode == 0, answer.stderr
    assert f"usage: {program}" in answer.stdout


@pytest.mark.usefixtures("image")
def test_whoever_asks_for_a_users_name_and_home_finds_them_under_any_number() -> None:
    ask = "import getpass, os; print(os.getuid(), getpass.getuser(), os.path.expanduser('~'))"
    assert inside("python", "-c", ask).stdout.split() == ["65532", "faultlab", "/tmp"]
    answer = docker("run", "--rm", "--read-only", "--user", "12345", IMAGE, "python", "-c", ask)
    assert answer.stdout.split() == ["12345", "faultlab", "/tmp"]


@pytest.mark.usefixtures("image")
def test_there_is_no_compiler_and_no_cache() -> None:
    look = (
        "for c in gcc cc g++ clang make; do command -v $c; done;"
        "ls -d /root/.cache /var/cache/apt/*.bin /var/lib/apt/lists/*_Packages 2>/dev/null; true"
    )
    assert inside("sh", "-c", look).stdout == ""


@pytest.mark.usefixtures("image")
def test_what_is_installed_fits_together_and_is_the_packages_version() -> None:
    # Under the base's own Python, which has pip, with the environment's path in front.
    script = "import sys; sys.path.insert(0, '/opt/faultlab/lib/python3.11/site-packages')\n" + CONTENTS
    answer = inside("/usr/local/bin/python3", "-c", script)
    assert answer.returncode == 0, answer.stderr
    contents = json.loads(answer.stdout)
    assert contents["broken"] == []
    assert contents["versions"]["faultlab"] == faultlab.__version__
    assert not contents["versions"].keys() & {"pip", "typer", "cel-python", "hatchling", "mypy"}


@pytest.mark.usefixtures("image")
def test_all_byte_code_is_there_and_never_compared_with_its_source() -> None:
    look = (
        "import pathlib, importlib.util as u; root = pathlib.Path('/opt/faultlab/lib')\n"
        "for p in root.rglob('*.py'):\n"
        "    c = pathlib.Path(u.cache_from_source(str(p)))\n"
        "    if not c.exists() or c.read_bytes()[4] != 1: print(p)\n"
    )
    assert inside("python", "-c", look).stdout == ""
