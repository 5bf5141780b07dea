"""What a learned degradation is worth downstream, on cameras whose truth is known."""
