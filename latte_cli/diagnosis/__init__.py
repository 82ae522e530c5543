"""What this machine can do, and what is missing: the checks of `latte doctor`."""
