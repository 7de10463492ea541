"""What the write-ahead log gives back after every way a file can end up."""

import logging
import random
from pathlib import Path

import pytest

from faultlab.raft.messages import Entry, HardState
from faultlab.raft.storage.errors import DamagedLog, DirectoryInUse, DirectoryUnusable, ForeignLog
from faultlab.raft.storage.records import BatchEncoder, Kind, read_chain
from faultlab.raft.storage.wal import FIRST_SEGMENT, Recovered, Wal, open_wal

Batch = tuple[list[Entry], HardState | None]


def write(wal: Wal, batches: list[Batch]) -> list[int]:
    """Appends each batch as the disk thread would; the file's length after each."""
    ends = []
    with wal.path.open("ab") as file:
        for entries, state in batches:
            wal.encoder.add_entries(entries)
            if state is not None:
                wal.encoder.add_hard_state(state)
            file.write(wal.encoder.take())
            ends.append(wal.encoder.offset)
    return ends


def reopen(data_dir: Path) -> Recovered:
    wal, recovered = open_wal(data_dir, "demo", "demo-0")
    wal.close()
    return recovered


def make_log(data_dir: Path, seed: int, batches: int = 12) -> tuple[Path, list[int], list[Recovered]]:
    """A log of random batches, where each ends, and what must be recovered after each."""
    rng = random.Random(seed)
    wal, _ = open_wal(data_dir, "demo", "demo-0")
    log: list[Entry] = []
    state = HardState()
    term = 1
    planned: list[Batch] = []
    expected: list[Recovered] = []
    for _ in range(batches):
        if rng.random() < 0.3:
            term += 1
            first = rng.randint(max(1, len(log) - 3), len(log) + 1)  # a new leader replaces a few
        else:
            first = len(log) + 1
        entries = [
            Entry(index, term, rng.randbytes(rng.choice([0, 1, 40, 3000])))
            for index in range(first, first + rng.randint(1, 6))
        ]
        state = HardState(term, rng.choice([None, "demo-1", "demo-2"]), first - 1)
        log = log[: first - 1] + entries
        planned.append((entries, state))
        expected.append(Recovered(state, list(log), 0))
    start = wal.encoder.offset
    ends = write(wal, planned)
    wal.close()
    return wal.path, [start, *ends], [Recovered(HardState(), [], 0), *expected]


def same_state(found: Recovered, expected: Recovered) -> bool:
    return found.hard_state == expected.hard_state and found.entries == expected.entries


@pytest.fixture(params=range(5))
def seed(request: pytest.FixtureRequest) -> int:
    print(f"seed {request.param}")
    return int(request.param)


def test_what_was_synced_comes_back(tmp_path: Path, seed: int) -> None:
    _, _, expected = make_log(tmp_path, seed)
    recovered = reopen(tmp_path)
    assert same_state(recovered, expected[-1])
    assert recovered.truncated_bytes == 0


def test_a_new_directory_is_an_empty_log(tmp_path: Path) -> None:
    assert same_state(reopen(tmp_path / "new" / "deep"), Recovered(HardState(), [], 0))


def test_an_entry_at_an_index_that_exists_replaces_it_and_all_after(tmp_path: Path) -> None:
    wal, _ = open_wal(tmp_path, "demo", "demo-0")
    write(wal, [([Entry(i, 1, b"old") for i in (1, 2, 3)], None), ([Entry(2, 2, b"new")], HardState(2))])
    wal.close()
    assert reopen(tmp_path).entries == [Entry(1, 1, b"old"), Entry(2, 2, b"new")]


def test_a_cut_anywhere_in_the_last_batch_keeps_all_before_it(
    tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    path, ends, expected = make_log(tmp_path, seed)
    whole = path.read_bytes()
    for cut in random.Random(seed).sample(range(ends[-2] + 1, ends[-1]), 20):
        path.write_bytes(whole[:cut])
        caplog.clear()
        with caplog.at_level(logging.WARNING, "faultlab.wal"):
            recovered = reopen(tmp_path)
        before = expected[-2].entries
        kept = len(before) if recovered.entries[: len(before)] == before else 0
        assert kept == len(before) or recovered.entries == expected[-1].entries[: len(recovered.entries)]
        if recovered.truncated_bytes:
            assert f"cut off {recovered.truncated_bytes} bytes" in caplog.text
        assert path.stat().st_size + recovered.truncated_bytes == cut


def test_a_cut_at_a_batch_boundary_gives_exactly_that_state(tmp_path: Path, seed: int) -> None:
    path, ends, expected = make_log(tmp_path, seed)
    whole = path.read_bytes()
    for end, state in zip(ends, expected, strict=True):
        path.write_bytes(whole[:end])
        assert same_state(reopen(tmp_path), state)


def test_a_tail_of_zeros_is_cut_off(tmp_path: Path, seed: int) -> None:
    path, ends, expected = make_log(tmp_path, seed)
    with path.open("ab") as file:
        file.write(bytes(random.Random(seed).randint(1, 9000)))
    recovered = reopen(tmp_path)
    assert same_state(recovered, expected[-1])
    assert path.stat().st_size == ends[-1]


def test_pages_of_the_last_batch_that_did_not_reach_the_disk_are_a_torn_tail(tmp_path: Path) -> None:
    """The kernel may write a batch's later pages before its earlier ones."""
    wal, _ = open_wal(tmp_path, "demo", "demo-0")
    first = [Entry(1, 1, b"acknowledged")]
    second = [Entry(index, 1, b"x" * 500) for index in range(2, 40)]
    ends = write(wal, [(first, HardState(1)), (second, None)])
    wal.close()
    data = bytearray(wal.path.read_bytes())
    data[ends[0] + 100 : ends[0] + 5000] = bytes(4900)
    wal.path.write_bytes(bytes(data))
    assert reopen(tmp_path).entries == first


def test_a_log_goes_on_after_a_torn_tail(tmp_path: Path) -> None:
    path, ends, expected = make_log(tmp_path, 7)
    path.write_bytes(path.read_bytes()[: ends[-2] + 11])
    wal, recovered = open_wal(tmp_path, "demo", "demo-0")
    more = Entry(len(recovered.entries) + 1, 99, b"more")
    write(wal, [([more], HardState(99, "demo-1", 1))])
    wal.close()
    assert reopen(tmp_path).entries == [*expected[-2].entries, more]


@pytest.mark.parametrize("how", ["flip", "zero", "remove", "duplicate"])
def test_damage_in_the_middle_is_refused_with_file_and_offset(tmp_path: Path, seed: int, how: str) -> None:
    path, ends, _ = make_log(tmp_path, seed)
    whole = path.read_bytes()
    records = [record for record in read_chain(whole) if record.kind != Kind.OWNER and record.end < ends[-2]]
    for record in random.Random(seed).sample(records, 6):
        damaged = bytearray(whole)
        if how == "flip":
            damaged[random.Random(seed).randrange(record.offset, record.end)] ^= 0x10
        elif how == "zero":
            damaged[record.offset : record.end] = bytes(record.end - record.offset)
        elif how == "remove":
            del damaged[record.offset : record.end]
        else:
            damaged[record.offset : record.offset] = whole[record.offset : record.end]
        path.write_bytes(bytes(damaged))
        with pytest.raises(DamagedLog) as raised:
            reopen(tmp_path)
        assert str(path) in str(raised.value)
        assert record.offset <= raised.value.offset <= record.end
        assert f"byte {raised.value.offset}" in str(raised.value)
        assert path.read_bytes() == bytes(damaged), "a refused log must be left as it is"


def test_records_that_changed_places_are_refused(tmp_path: Path) -> None:
    wal, _ = open_wal(tmp_path, "demo", "demo-0")
    start, *_ = write(wal, [([Entry(1, 1, b"a")], None)])
    write(wal, [([Entry(2, 1, b"same length")], None), ([Entry(3, 1, b"same LENGTH")], None)])
    wal.close()
    whole = wal.path.read_bytes()
    middle = (start + len(whole)) // 2
    wal.path.write_bytes(whole[:start] + whole[middle:] + whole[start:middle])
    with pytest.raises(DamagedLog):
        reopen(tmp_path)


def test_a_first_record_that_is_bad_is_refused(tmp_path: Path) -> None:
    path, _, _ = make_log(tmp_path, 1)
    for data in (b"", bytes(4096), path.read_bytes()[:20], b"\xff" * 300):
        path.write_bytes(data)
        with pytest.raises(DamagedLog, match="byte 0"):
            reopen(tmp_path)


def test_an_entry_beyond_the_logs_end_is_refused(tmp_path: Path) -> None:
    wal, _ = open_wal(tmp_path, "demo", "demo-0")
    write(wal, [([Entry(1, 1, b"a"), Entry(3, 1, b"c")], None)])
    wal.close()
    with pytest.raises(DamagedLog, match="entry 3"):
        reopen(tmp_path)


def test_a_vote_lost_with_the_torn_tail_is_not_remembered_wrongly(tmp_path: Path) -> None:
    """Entries of a later term than the hard state's: the member was in that term and had told nobody."""
    wal, _ = open_wal(tmp_path, "demo", "demo-0")
    write(wal, [([Entry(1, 1, b"a")], HardState(1, "demo-0", 0)), ([Entry(2, 5, b"b")], None)])
    wal.close()
    assert reopen(tmp_path).hard_state == HardState(5, None, 0)


def test_a_second_process_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    wal, _ = open_wal(tmp_path, "demo", "demo-0")
    with pytest.raises(DirectoryInUse, match="in use by another process"):
        open_wal(tmp_path, "demo", "demo-0")
    wal.close()
    reopen(tmp_path)


def test_another_members_log_is_refused(tmp_path: Path) -> None:
    make_log(tmp_path, 1)
    with pytest.raises(ForeignLog, match="demo-0"):
        open_wal(tmp_path, "demo", "demo-1")
    with pytest.raises(ForeignLog, match="other"):
        open_wal(tmp_path, "other", "demo-0")
    reopen(tmp_path)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DirectoryUnusable, match="file"):
        open_wal(tmp_path / "file" / "data", "demo", "demo-0")


def test_a_log_left_half_created_is_created_anew(tmp_path: Path) -> None:
    (tmp_path / "wal").mkdir()
    (tmp_path / "wal" / FIRST_SEGMENT).with_suffix(".new").write_bytes(b"half")
    assert same_state(reopen(tmp_path), Recovered(HardState(), [], 0))


def test_every_single_byte_flip_is_noticed() -> None:
    """CRC-32 finds every error of up to 32 bits in a row; no byte of a record is outside it."""
    encoder = BatchEncoder(0, 0)
    encoder.add_entries([Entry(1, 1, b"payload")])
    data = encoder.take()
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1
        assert list(read_chain(bytes(flipped))) == []
