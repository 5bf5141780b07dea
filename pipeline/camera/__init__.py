"""The camera: its passport, and what it does to HR images."""
