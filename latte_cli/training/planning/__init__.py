"""What a run will cost: counted, and measured in a few steps."""
