"""From a checkpoint to clips on disk."""
