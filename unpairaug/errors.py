"""The ways a program ends early, each with a message instead of a traceback."""


class UserError(Exception):
    """What the user gave is wrong; the message says what was given, what was expected and what to do. Exit code 2."""


class RunStopped(Exception):
    """A run ended before its last step; the message says why, what is kept and how to go on. Exit code 1."""
