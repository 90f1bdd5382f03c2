"""The model as flat vectors."""
