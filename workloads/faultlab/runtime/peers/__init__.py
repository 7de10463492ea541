"""Member to member: one TCP connection each way, made again within moments of a partition's end."""
