"""Recovery: the gain of SR networks from a learned degradation, the table of recovery/dvc.yaml."""
