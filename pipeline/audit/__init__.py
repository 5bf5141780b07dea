"""The stage ``audit``: are the generated LR images like the real ones."""
