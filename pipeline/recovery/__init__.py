"""What a learned degradation is worth downstream, as a table of recovery/dvc.yaml."""
