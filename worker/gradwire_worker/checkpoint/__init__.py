"""What a worker keeps on the disk, and weights files."""
