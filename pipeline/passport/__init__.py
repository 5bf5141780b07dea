"""The passport of a camera, and what it does to HR images."""
