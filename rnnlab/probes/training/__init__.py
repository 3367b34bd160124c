"""What training does to a gradient."""
