"""Files that commands write: whole, or not at all."""

import os
from pathlib import Path

from keeper.errors import ConfigError


def write(path: Path, content: bytes, what: str) -> None:
    """Puts the content in the place of what is there, behind a link, too, and with the old file's mode; a
    device or a pipe gets it. `what` names the kind for people.

    Raises ConfigError when it cannot be written.
    """
    if not path.name:
        raise ConfigError(f"Cannot write the {what}", where=path, expected="a file's name")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            _replace(path.resolve(), content)
    except (OSError, RuntimeError) as error:
        # The latter is what links that lead to each other end in.
        seen = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"Cannot write the {what}", where=path, seen=seen) from error


def _replace(place: Path, content: bytes) -> None:
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        if place.exists():
            beside.touch(mode=0o600)
            beside.chmod(place.stat().st_mode)
        beside.write_bytes(content)
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
