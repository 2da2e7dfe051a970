"""The one error that networks and weights raise on purpose."""


class ModelError(ValueError):
    """A network, its weights or its input do not fit; the text says which and what to do."""

    exit_code = 2
