"""What is measured about a recurrent network."""
