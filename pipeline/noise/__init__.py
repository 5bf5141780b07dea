"""What the noise of LR images is like, and how much two sets of LR images differ.

Everything is in gray levels, 0 to 255, and variances in their square.
"""
