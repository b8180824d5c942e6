"""The errors a user is meant to read: one line, no traceback, exit code 2."""


class UserError(Exception):
    """Something the user can mend; the message says what and how."""


class ConfigError(UserError):
    """A config value is wrong: names the key path, what it must be and what it was."""

    def __init__(self, path: str, must: str, was: object = None, *, shown: bool = True):
        was_text = f"; it was {was!r}" if shown else ""
        super().__init__(f"{path}: must be {must}{was_text}")


class DamagedFile(UserError):
    """A shard or a chunk is missing, truncated or altered; names the file and the mend."""
