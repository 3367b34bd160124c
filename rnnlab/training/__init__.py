"""What trains a trial, and how trials share devices."""
