"""What hosts a protocol core: sockets, timers, the disk thread and the admin port of one member process.

Knows no protocol. Everything runs on one asyncio loop (uvloop in production) except writes to disk,
which have a thread of their own.
"""
