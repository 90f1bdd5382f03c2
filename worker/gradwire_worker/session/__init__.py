"""A session with a server, without torch: calls, membership, the replica, pushes."""
