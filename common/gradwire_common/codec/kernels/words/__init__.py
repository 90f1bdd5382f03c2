"""Words and their codes: code lengths, tables, bits written and bits read."""
