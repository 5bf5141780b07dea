"""What reuses the stores outside of the pipeline's own trainings."""
