"""The stage ``train_srn``: an SR network, trained on samples or on pairs."""
