"""Frozen specs: their fields, the files that define them, and grids over their values."""
