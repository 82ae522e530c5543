"""From a checkpoint to clips on disk: generation, text to video, long clips, folders of clips."""
