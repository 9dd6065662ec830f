"""The project's own exceptions: what a user can mend, told in one line by the commands.

Anything else that is raised is a bug and keeps its traceback.
"""


class UserError(ValueError):
    """A file, value or combination that was given is not what is expected."""


class ResourceError(OSError):
    """The machine or a network lacks what is needed: a file, a program, a device, a download."""


class WeightsUnavailableError(ResourceError):
    """Weights are neither on this machine nor to be downloaded; the only reason for a fallback."""
