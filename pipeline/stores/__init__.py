"""Reading of stores and weights, their checks, and results that are kept."""
