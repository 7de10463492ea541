"""Promises that the layout of the repository makes."""

import subprocess
import sys
import tomllib
from pathlib import Path

import faultlab

ROOT = Path(__file__).parents[2]


def test_the_folder_operator_does_not_shadow_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "operator" / "operator.py").exists()
    code = "import operator; assert 'site-packages' not in operator.__file__; operator.itemgetter"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_package_and_project_have_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == faultlab.__version__


def test_modules_stay_within_a_readers_grasp() -> None:
    sources = [p for top in ("operator", "workloads", "chaos") for p in (ROOT / top).rglob("*.py")]
    long = {str(p.relative_to(ROOT)): n for p in sources if (n := p.read_text().count("\n")) > 500}
    assert not long
