"""What travels between the two ends: channels, chunks, messages, token buckets."""
