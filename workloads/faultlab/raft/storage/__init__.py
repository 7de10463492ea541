"""What one member keeps on disk: a data directory that one process holds, a log and snapshots in it."""
