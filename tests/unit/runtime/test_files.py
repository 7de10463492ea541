"""One call that writes and syncs does what two calls do, also where the file system does not know it."""

import errno
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from faultlab.runtime.files import RealFiles


def test_a_synced_write_replaces_what_is_there_and_leaves_the_rest(tmp_path: Path) -> None:
    file = RealFiles().open(tmp_path / "log", create=True)
    file.write_at(0, b"a" * 10)
    file.write_synced(3, b"bcd")
    assert file.read_at(0, 10) == b"aaabcdaaaa"
    file.close()


def test_a_synced_write_asks_for_its_own_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = []

    def noted(descriptor: int, buffers: Any, offset: int, flag: int) -> int:
        flags.append(flag)
        return os.pwrite(descriptor, buffers[0], offset)

    monkeypatch.setattr(os, "pwritev", noted)
    file = RealFiles().open(tmp_path / "log", create=True)
    file.write_synced(0, b"abc")
    file.close()
    assert flags == [os.RWF_DSYNC]


def test_a_file_system_without_synced_writes_gets_a_write_and_a_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def refused(*_: object) -> NoReturn:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "pwritev", refused)
    monkeypatch.setattr(os, "fdatasync", synced.append)
    file = RealFiles().open(tmp_path / "log", create=True)
    file.write_synced(0, b"abc")
    assert file.read_at(0, 10) == b"abc"
    assert len(synced) == 1
    file.close()


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_synced_write_that_fails_is_not_tried_another_way(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pwritev", failing)
    file = RealFiles().open(tmp_path / "log", create=True)
    with pytest.raises(OSError, match=str(tmp_path / "log")) as raised:
        file.write_synced(0, b"abc")
    assert raised.value.errno == code
    assert file.size() == 0
    file.close()


def test_a_synced_write_that_comes_out_short_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwritev", lambda *_: 2)
    file = RealFiles().open(tmp_path / "log", create=True)
    with pytest.raises(OSError, match="2 of 3 bytes"):
        file.write_synced(0, b"abc")
    file.close()
