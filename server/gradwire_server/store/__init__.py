"""What is kept on the disk, and how it is read back."""
