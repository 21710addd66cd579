"""The one error of the zoo: what was given cannot be used."""


class CifarZooError(ValueError):
    """Bad input. The message names the offending value and says what to do; nothing has been changed."""
