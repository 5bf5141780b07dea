"""What two sets of LR images differ in: of their cameras, not of their scenes.

See ``differences``.
"""
