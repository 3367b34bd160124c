"""Translations: searched for, scored, and made without a network."""
