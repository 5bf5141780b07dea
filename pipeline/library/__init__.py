"""Functions that reuse the stores outside of the pipeline's own trainings."""
