"""What the noise of LR images is like, and how much two sets of LR images differ."""
