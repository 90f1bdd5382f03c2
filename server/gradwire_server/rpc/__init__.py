"""The calls: each reads its request, calls the run, charges the bytes, and answers."""
