"""Scores of SR images: against HR images under named protocols, and without a reference."""
