"""The file that holds a cluster's key: a mounted Secret, or what `openssl rand -out FILE 32` wrote."""

from pathlib import Path

from ..errors import ConfigError

MIN_KEY_BYTES = 16
MAX_KEY_BYTES = 4096


def read_key(path: Path) -> bytes:
    """The key in `path`, every byte of it; raises ConfigError."""
    try:
        with path.open("rb") as file:
            key = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the peers' key {path}: {error.strerror}") from error
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ConfigError(
            f"the peers' key {path} has {len(key)} bytes (or more); {MIN_KEY_BYTES} to {MAX_KEY_BYTES} random"
            " ones are expected, the same on all members: openssl rand -out FILE 32"
        )
    return key
