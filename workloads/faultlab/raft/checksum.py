"""The checksum of everything that is kept or sent: CRC32C, made by the processor at gigabytes a second."""

from collections.abc import Callable

import google_crc32c

crc32c: Callable[[bytes], int] = google_crc32c.value
extend_crc32c: Callable[[int, bytes], int] = google_crc32c.extend
"""The checksum of bytes with this one (0: none), and more behind them."""
