"""Uncertainty that can be checked: do real LR images fall where the samples say they will.

Everything is in gray levels, 0 to 255, but what is read from stores or given by a DSN.
"""
