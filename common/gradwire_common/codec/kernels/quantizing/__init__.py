"""Entries to buckets and raw bits: the loops of every quantiser, and counts of a sample."""
