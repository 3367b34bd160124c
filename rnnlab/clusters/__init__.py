"""Where else than in this process trials run."""
