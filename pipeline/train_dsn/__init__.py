"""The stage ``train_dsn``: the degradation, learned from unpaired images."""
