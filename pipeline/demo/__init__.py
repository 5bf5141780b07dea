"""The stage ``demo``: photographs as a simulated camera sees them."""
