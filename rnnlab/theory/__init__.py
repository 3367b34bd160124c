"""What theory predicts in closed form."""
