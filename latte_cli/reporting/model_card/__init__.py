"""The card of a model on the hub, made from the run that trained it."""
