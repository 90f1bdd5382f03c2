"""Who is waited for and when a round closes, without clocks, input or output."""
