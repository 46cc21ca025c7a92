"""What the `lab` command shows a person instead of a traceback."""


class LabError(Exception):
    """A command could not do its work; the message says what happened and what to do next."""
