"""The project's own exceptions: errors that the user can fix, printed by the commands on one line.

Any other exception is a bug and keeps its traceback.
"""


class UserError(ValueError):
    """A given file, value or combination is not as expected."""


class ResourceError(OSError):
    """A required file, program, device or download is missing."""


class WeightsUnavailableError(ResourceError):
    """Weights are neither on this machine nor downloadable; the only reason for a fallback."""
