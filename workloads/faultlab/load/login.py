"""Whom clients log in as, where the members ask for it."""

from pathlib import Path
from typing import NamedTuple

from faultlab.contract.load import LoadConfig


class Login(NamedTuple):
    """A user and its password."""

    name: str
    password: str


def read_login(config: LoadConfig) -> Login | None:
    """From the files of `login_dir`, None where there is none; raises OSError where they cannot be read."""
    if config.login_dir is None:
        return None
    folder = Path(config.login_dir)
    return Login(*((folder / file).read_text().strip() for file in ("username", "password")))
