"""Training: recipes and the function that follows them."""
