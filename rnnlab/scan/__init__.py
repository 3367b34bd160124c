"""Cells run over time: the engine and its gradient."""
