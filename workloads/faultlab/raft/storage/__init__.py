"""What one member keeps on disk: a data directory that one process holds, and a write-ahead log in it."""
