"""The stage ``export``: mean and theta of every HR image."""
