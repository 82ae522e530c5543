"""What a run will cost: measured steps, and the plan made of them."""
