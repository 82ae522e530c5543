"""The parts of `fuzz.py`: damage, inputs of each kind, what is expected of them, and processes."""
