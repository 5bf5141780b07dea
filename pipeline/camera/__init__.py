"""The stage ``camera``: what two unpaired piles of images say of the camera."""
