"""A scenario file that cannot be run is refused with a sentence, before anything is started."""

from pathlib import Path

import pytest

from faultlab_cli.errors import CliError
from faultlab_cli.run import load_scenario


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "holds nothing"),
        ("kind: [", "not YAML"),
        ("just words", "no object"),
        ("kind: Pod\nmetadata: {name: x}", "holds Pod"),
        ("kind: Scenario\nspec: {}", "metadata.name"),
        (
            "kind: Scenario\nmetadata: {name: a}\n---\nkind: Scenario\nmetadata: {name: b}",
            "Scenario, Scenario",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, hint: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises(CliError, match=hint):
        load_scenario(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"nowhere\.yaml: No such file"):
        load_scenario(tmp_path / "nowhere.yaml")
