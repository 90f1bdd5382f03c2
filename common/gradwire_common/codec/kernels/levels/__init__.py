"""Buckets and raw bits to levels, stored or added."""
