"""What is measured of a character language model: loss on held-out text, memory, interpretable units."""
