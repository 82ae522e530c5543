"""Training: batches, the step, checkpoints and resuming, the guard against bad steps, the plan."""
