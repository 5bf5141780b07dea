"""The commands: one module per DVC stage, each a thin Click command over its engine."""
