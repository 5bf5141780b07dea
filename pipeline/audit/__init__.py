"""The stage ``audit``: are the generated LR images like the real ones.

Everything is in gray levels, 0 to 255, but what is read from stores or pictured.
"""
