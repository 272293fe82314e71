"""Small image models trained from scratch by the recipes, and what they can do."""
