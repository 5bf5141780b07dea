"""The stage ``calibrate``: how much noise samples need."""
