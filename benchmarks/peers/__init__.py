"""The coders that gradwire's is measured beside. Each takes uint8 symbols and gives them back."""
