"""Errors that a program reports in one line and without a traceback."""


class UserError(ValueError):
    """Something that a user gave cannot be used: one line that names it and the nearest right answer."""


class Undefined(UserError, TypeError):
    """What was asked for is not there to be measured, as gates of a cell without gates: a run goes on without it."""
