"""What the agent refuses to start with."""

from pathlib import Path

import pytest

from faultlab_chaos.errors import KeyFileError
from faultlab_chaos.main import main, read_key


def test_the_key_is_read_without_its_newline(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef\n")
    assert read_key(tmp_path / "key") == b"0123456789abcdef"


@pytest.mark.parametrize("content", [None, "", "\n", "short\n"])
def test_without_a_usable_key_it_does_not_start(
    tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_text(content)
    with pytest.raises(KeyFileError):
        read_key(key)
    assert main(["--key-file", str(key)]) == 2
    assert str(key) in capsys.readouterr().err


@pytest.mark.parametrize("listen", ["7010", "host:port", ":7010"])
def test_a_strange_address_is_refused_with_the_form_expected(
    tmp_path: Path, listen: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text("0123456789abcdef")
    assert main(["--key-file", str(tmp_path / "key"), "--listen", listen]) == 2
    assert "HOST:PORT" in capsys.readouterr().err


def test_help_says_how_injections_end(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "SIGTERM" in capsys.readouterr().out
