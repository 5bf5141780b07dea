"""The settings of a training step, the learning rate over its steps, and the optimisers."""
