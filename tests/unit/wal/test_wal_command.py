"""`faultlab wal inspect|verify`: says what a start would do, before it does it, and touches nothing."""

import json
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from damage import KINDS, MEMBER_DIR, PLACES, Now, make_case
from typer.testing import CliRunner, Result

from faultlab.raft.configuration import Configuration, encode_configuration
from faultlab.raft.messages import Entry, EntryKind, HardState, SnapshotMeta
from faultlab.raft.storage import inspection
from faultlab.raft.storage.inspection import look
from faultlab.raft.storage.store import Storage, StorageSettings, open_storage
from faultlab.runtime.files import RealFiles
from faultlab_cli.errors import CliError
from faultlab_cli.wal import EXIT_NOTHING_THERE, app

BOOTSTRAP = Configuration(voters=("demo-0", "demo-1", "demo-2"))
SMALL = StorageSettings(8192, 2048)
SEGMENT = Path("demo-0") / "wal" / "0000000001.wal"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200"})


def write(data_dir: Path, count: int = 40) -> Storage:
    """A log over some segments, with a snapshot."""
    storage, _ = open_storage(RealFiles(), data_dir, "demo", "demo-0", BOOTSTRAP, settings=SMALL)
    storage.add_peer("demo-1", "one")
    for index in range(1, count + 1):
        storage.add_entries([Entry(index, 1 + index // 20, b"x" * 300)])
        storage.add_hard_state(HardState(1 + index // 20, "demo-2", index - 1))
        storage.start_sync(Now(), lambda: None)
    writer = storage.open_snapshot_writer()
    writer.write(b"state")
    meta = writer.finish(SnapshotMeta(10, 1, BOOTSTRAP))
    storage.compact(meta, 10, Now(), lambda: None)
    return storage


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_verdict_is_what_the_next_start_does(
    kind: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "PAUSE_S", 0)  # nobody writes here
    for seed in range(4):
        case = make_case(kind, where, seed)
        before = case.image()
        report = look(case.files, MEMBER_DIR)
        assert case.image() == before, "looking changes nothing"
        if case.refused:
            assert report.state == "damaged"
            assert report.file == str(case.damaged)
        else:
            storage, recovered = case.open()
            storage.close()
            assert report.state == ("torn" if recovered.truncated_bytes else "ok")
            found = (report.entries.first, report.entries.last) if report.entries else None
            kept = recovered.entries
            assert found == ((kept[0].index, kept[-1].index) if kept else None)
            assert report.hard_state == recovered.hard_state


def test_inspect_shows_what_there_is(tmp_path: Path) -> None:
    storage = write(tmp_path)
    added = Configuration(voters=("demo-0", "demo-1", "demo-2"), learners=("demo-3#41",))
    storage.add_entries([Entry(41, 3, encode_configuration(added), EntryKind.CONFIGURATION)])
    storage.close()
    shown = call("inspect", tmp_path)
    assert shown.exit_code == 0
    for expected in (
        "ok",
        "demo-0 of cluster demo",
        "term 3, vote demo-2, commit 39",
        "up to entry 10",
        "11-41 behind it",
        "voters demo-0,demo-1,demo-2 learners demo-3#41",
        "demo-1 one",
        "000000000010-000001.snap",
        "0000000002.wal",
    ):
        assert expected in shown.output
    assert len(json.loads(call("inspect", "--json", "-g", 3, tmp_path).output)[0]["lastGroups"]) == 3


def test_verify_tells_ok_torn_and_damaged_apart_by_its_exit_code(tmp_path: Path) -> None:
    write(tmp_path, 10).close()
    segment = tmp_path / SEGMENT
    whole = segment.read_bytes()
    assert (call("verify", tmp_path).exit_code, segment.read_bytes()) == (0, whole)

    segment.write_bytes(whole[: 10 * 512 + 100])
    torn = call("verify", tmp_path)
    assert torn.exit_code == 1
    assert f"torn tail at {segment}:{10 * 512}" in torn.output

    segment.write_bytes(whole[:1500] + b"?" + whole[1501:])
    damaged = call("verify", tmp_path)
    assert damaged.exit_code == 2
    assert f"damaged at {segment}:1024" in damaged.output
    assert "replace the member" in damaged.output
    report = json.loads(call("verify", "--json", tmp_path).output)[0]
    assert (report["state"], report["file"], report["offset"]) == ("damaged", str(segment), 1024)


def test_the_worst_of_several_ids_decides(tmp_path: Path) -> None:
    write(tmp_path, 10).close()
    other, _ = open_storage(RealFiles(), tmp_path, "demo", "demo-0#77", settings=SMALL)
    other.close()
    segment = tmp_path / SEGMENT
    whole = segment.read_bytes()
    segment.write_bytes(whole[:1500] + b"?" + whole[1501:])
    both = call("verify", tmp_path)
    assert both.exit_code == 2
    assert "demo-0#77: ok" in both.output
    assert call("verify", tmp_path / "demo-0#77").exit_code == 0


@pytest.mark.parametrize("given", ["nothing", "empty", "a file", "foreign files", "old format"])
def test_what_is_no_log_is_said_in_a_sentence(tmp_path: Path, given: str) -> None:
    directory = tmp_path / "data"
    if given != "nothing":
        directory.mkdir()
    if given == "a file":
        directory = directory / "file"
        directory.write_text("x")
    elif given == "foreign files":
        (directory / "photo.jpg").write_bytes(b"x")
        (directory / "wal").mkdir()
        (directory / "wal" / "notes.wal").write_bytes(b"x")
    elif given == "old format":
        (directory / "wal").mkdir()
        (directory / "wal" / "00000001.log").write_bytes(b"FLR1")
    for command in ("inspect", "verify"):
        result = call(command, directory)
        assert isinstance(result.exception, CliError)
        assert result.exception.code == EXIT_NOTHING_THERE
        assert str(directory) in str(result.exception)


@pytest.mark.parametrize("content", [b"", b"junk", random.Random(1).randbytes(70000), bytes(70000)])
def test_nonsense_under_a_segments_name_is_damage(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, 3).close()
    (tmp_path / SEGMENT).write_bytes(content)
    assert call("verify", tmp_path).exit_code == 2
    assert call("inspect", tmp_path).exit_code == 0


def test_a_member_that_writes_at_the_moment_is_never_called_broken(tmp_path: Path) -> None:
    storage = write(tmp_path, 3)
    stop = threading.Event()

    def work() -> None:
        index = 3
        while not stop.is_set():
            index += 1
            storage.add_entries([Entry(index, 1, b"x" * 900)])
            storage.start_sync(Now(), lambda: None)
            if index % 40 == 0:
                writer = storage.open_snapshot_writer()
                writer.write(b"state")
                meta = writer.finish(SnapshotMeta(index, 1, BOOTSTRAP))
                storage.compact(meta, index, Now(), lambda: None)

    writing = threading.Thread(target=work)
    writing.start()
    try:
        states = [look(RealFiles(), tmp_path / "demo-0").state for _ in range(60)]
    finally:
        stop.set()
        writing.join()
        storage.close()
    assert "damaged" not in states
    assert states.count("ok") >= 55


def test_the_program_itself_takes_the_command(tmp_path: Path) -> None:
    write(tmp_path, 3).close()
    program = [sys.executable, "-c", "from faultlab_cli.main import main; main()"]
    ended = subprocess.run(
        [*program, "wal", "verify", str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    nothing = subprocess.run(
        [*program, "wal", "verify", str(tmp_path / "no")], capture_output=True, text=True, timeout=60
    )
    assert nothing.returncode == EXIT_NOTHING_THERE
    assert "there is no directory" in nothing.stderr
