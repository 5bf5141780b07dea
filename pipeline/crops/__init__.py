"""Batches of random crops from stores of any size."""
