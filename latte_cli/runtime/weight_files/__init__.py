"""Files of weights: which lie in a folder, and reading them without running code."""
