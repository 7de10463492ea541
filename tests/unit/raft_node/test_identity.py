"""Under which id a process starts, from what the file says and what the directory holds."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from raft_trio import Trio

from faultlab.contract.member import PeerAddress, RaftConfig
from faultlab.raft.configuration import Configuration
from faultlab.raft.identity import Identity, IdentityRefused, choose_identity, first_configuration
from faultlab.raft.storage.store import open_storage
from faultlab.runtime.files import RealFiles


def config(directory: Path, member_id: str | None = None, **settings: str) -> RaftConfig:
    members = (PeerAddress("a", "h", id=member_id), PeerAddress("b", "h"))
    return RaftConfig(cluster="t", members=members, data_dir=str(directory), **settings)  # type: ignore[arg-type]


def keep(directory: Path, *ids: str) -> None:
    for member_id in ids:
        storage, _ = open_storage(RealFiles(), directory, "t", member_id, Configuration(("a",)))
        storage.close()


@pytest.mark.parametrize(
    ("kept", "given", "expected"),
    [
        ((), None, Identity("a", "bootstrap")),
        ((), "a#7", Identity("a#7", "join")),
        (("a",), None, Identity("a", "restart")),
        (("a",), "a", Identity("a", "restart")),
        (("a",), "a#7", Identity("a#7", "join")),
        (("a", "a#7"), None, Identity("a#7", "restart")),
        (("a#9", "a#70", "a#8"), None, Identity("a#70", "restart")),
        (("a", "a#7"), "a#7", Identity("a#7", "restart")),
        (("a#7",), "a#9", Identity("a#9", "join")),
        (("a", "a#7"), "a", Identity("a#7", "restart")),
        (("a#9",), "a#7", Identity("a#9", "restart")),
        (("ab", "b"), None, Identity("a", "bootstrap")),
    ],
)
def test_the_id_is_the_later_one_of_the_files_and_the_directorys_else_the_name(
    tmp_path: Path, kept: tuple[str, ...], given: str | None, expected: Identity
) -> None:
    keep(tmp_path, *kept)
    assert choose_identity(RealFiles(), config(tmp_path, given), "a") == expected


@pytest.mark.parametrize(("given", "state"), [("a", "new"), (None, "existing"), ("a", "existing")])
def test_an_id_of_the_beginning_without_its_data_is_refused(
    tmp_path: Path, given: str | None, state: str
) -> None:
    lost = config(tmp_path, given, initial_state=state)
    with pytest.raises(IdentityRefused, match="replace"):
        choose_identity(RealFiles(), lost, "a")
    revived = config(tmp_path, given, initial_state=state, break_rule="reviveEmpty")
    assert choose_identity(RealFiles(), revived, "a") == Identity("a", "bootstrap")


def test_a_directory_whose_making_was_interrupted_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "a" / "wal").mkdir(parents=True)
    (tmp_path / "a" / "wal" / "0000000001.wal.new").write_bytes(b"half")
    assert choose_identity(RealFiles(), config(tmp_path), "a") == Identity("a", "bootstrap")


def test_only_a_new_cluster_begins_with_all_members(tmp_path: Path) -> None:
    settings = config(tmp_path)
    first = first_configuration(settings, Identity("a", "bootstrap"))
    assert first is not None
    assert first.voters == ("a", "b")
    assert first.addresses["b"].peer_port == 7001
    assert first_configuration(settings, Identity("a#3", "join")) is None
    assert first_configuration(settings, Identity("a", "restart")) is None


def test_whom_a_member_has_met_is_known_after_a_power_cut_though_nobody_writes_anything(
    tmp_path: Path, make_trio: Callable[..., Trio]
) -> None:
    trio = make_trio()
    member = trio.lead().member_id
    trio.run(20)
    trio.nodes[member].learned("z#9", "its data")
    trio.turn()
    as_it_was = shutil.copytree(tmp_path / member, tmp_path / "as it was on disk")
    storage, recovered = open_storage(RealFiles(), as_it_was, "t", member)
    storage.close()
    assert recovered.known_peers == {"z#9": "its data"}
