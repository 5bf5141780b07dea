"""Figures 2 and 6 of the paper, measured: the law of the LR images, and theta at edges.

Everything is in gray levels, 0 to 255, but what is read from stores.
"""
