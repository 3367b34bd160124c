"""Gradients over time."""
