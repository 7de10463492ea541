"""What the command line tells a person instead of a traceback."""


class CliError(Exception):
    """A sentence for the person at the terminal; the command exits with `code`."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code
