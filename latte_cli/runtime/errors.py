"""The errors a user can mend: what is wrong, and what to do next."""


class LatteError(Exception):
    """Base of every error that the command line shows as `error:` and `hint:`, without a traceback.

    Args:
        message: what is wrong, in words, with the offending value.
        hint: what the user can do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(LatteError):
    """A preset, key or value that does not exist or does not fit."""


class DataError(LatteError):
    """A data set, manifest or set of latents that is missing, empty or does not fit."""


class VideoError(LatteError):
    """A file that cannot be read, or written, as a video."""


class CheckpointError(LatteError):
    """Weights that are missing, broken or of another shape."""


class TrainingError(LatteError):
    """A training run that cannot go on as it is."""


class ShapeError(LatteError):
    """A tensor whose size the network or the autoencoder cannot take."""


class LatteWarning(UserWarning):
    """Something that goes on but may not be what was meant; the command line shows it in words."""
