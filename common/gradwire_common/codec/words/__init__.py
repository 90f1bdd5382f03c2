"""Which blocks of symbols get a codeword, and what that costs."""
