"""The one error that is meant for the person who brought the data."""


class BadInput(ValueError):
    """A fault of the input, told in one sentence: which file, what was expected, what to do."""
