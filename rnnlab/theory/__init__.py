"""Closed-form predictions of theory."""
