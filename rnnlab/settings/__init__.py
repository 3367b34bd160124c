"""From dotted paths to frozen specs."""
