"""A data set's latents: planned, encoded, written to shards, indexed, read and checked."""
