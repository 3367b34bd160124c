"""What is measured of a character language model: its loss on held-out text, memory of the text, interpretable units."""
