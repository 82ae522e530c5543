"""Checking every video of a data set once."""
