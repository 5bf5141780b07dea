"""The run of a training: its steps, curves, checkpoints, best weights and loggers."""
