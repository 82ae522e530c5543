"""Pictures beside clips: the one that clips begin with, and the one that shows all of a folder."""
