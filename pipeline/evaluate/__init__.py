"""The stage ``evaluate``: scores of an SR network."""
