"""Where the clips of an evaluation come from: videos, npz files, or a network that samples."""
