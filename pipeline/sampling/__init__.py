"""How an LR image is drawn from mean and theta."""
