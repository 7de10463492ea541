"""The container's root: which directories have to be opened up so that every mount has its place."""

from __future__ import annotations

import stat

import pytest

from faultlab_embedded.node.rootfs import Bind, RootError, plan

DIRECTORIES = {"/", "/etc", "/etc/ssl", "/usr", "/usr/lib", "/var", "/var/lib", "/tmp", "/srv", "/srv/venv"}
FILES = {"/etc/hosts"}
LINKS = {"/var/run": "/run", "/bin": "usr/bin", "/etc/resolv.conf": "../run/resolv.conf", "/loop": "/loop"}


def mode(path: str) -> int | None:
    if path in LINKS:
        return stat.S_IFLNK
    if path in DIRECTORIES or path == "/run":
        return stat.S_IFDIR
    return stat.S_IFREG if path in FILES else None


def layout(*binds: Bind, visible: tuple[str, ...] = ()) -> tuple[set[str], list[str]]:
    made = plan(list(binds), list(visible), mode, LINKS.__getitem__)
    return set(made.expand), [bind.target for bind in made.binds]


def test_existing_mount_point_needs_no_expansion() -> None:
    assert layout(Bind("/s", "/etc/ssl")) == ({"/"}, ["/etc/ssl"])


def test_missing_top_level_directory_is_made_in_the_root() -> None:
    assert layout(Bind("/s", "/data")) == ({"/"}, ["/data"])


def test_only_the_directory_that_lacks_the_mount_point_and_those_above_it_are_expanded() -> None:
    expand, _ = layout(Bind("/s", "/var/lib/redis/data"))
    assert expand == {"/", "/var", "/var/lib"}


def test_links_on_the_way_are_followed() -> None:
    expand, targets = layout(Bind("/s", "/var/run/secrets/token"))
    assert targets == ["/run/secrets/token"]
    assert expand == {"/"}


def test_link_as_mount_point_is_replaced_not_followed() -> None:
    made = plan([Bind("/s", "/etc/resolv.conf", directory=False)], [], mode, LINKS.__getitem__)
    assert "/etc/resolv.conf" in made.omit
    assert "/etc" in made.expand


def test_outer_mounts_come_before_inner_ones() -> None:
    _, targets = layout(Bind("/s", "/data/inner/deep"), Bind("/s", "/data"))
    assert targets == ["/data", "/data/inner/deep"]


def test_interpreter_stays_visible_under_a_mount_that_covers_it() -> None:
    _, targets = layout(Bind("/s", "/srv"), visible=("/srv/venv", "/usr/lib"))
    assert targets == ["/srv", "/srv/venv"]


@pytest.mark.parametrize(
    ("bind", "text"),
    [
        (Bind("/s", "/"), "cannot replace the root"),
        (Bind("/s", "/etc/hosts/x"), "is a file on this machine"),
        (Bind("/s", "/etc/ssl", directory=False), "the volume is a file"),
        (Bind("/s", "/loop/x"), "symbolic links"),
    ],
)
def test_impossible_mounts_are_refused_by_name(bind: Bind, text: str) -> None:
    with pytest.raises(RootError, match=text) as caught:
        layout(bind)
    assert bind.target in str(caught.value)
