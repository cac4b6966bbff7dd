"""Files that commands write: whole, or not at all."""

from pathlib import Path

from keeper.errors import ConfigError


def write(path: Path, content: bytes, what: str) -> None:
    """Puts the content in the place of what is there, behind a link, too, and with the old file's mode; a
    device or a pipe gets it. `what` names the kind for people.

    Raises ConfigError when it cannot be written.
    """
    if not path.name:
        raise ConfigError(f"Cannot write the {what}", where=path, expected="a file's name")
    place = path.resolve()
    try:
        if place.exists() and not place.is_file():
            path.write_bytes(content)
            return
        beside = place.with_name(f".{place.name}.part")
        beside.write_bytes(content)
        if place.exists():
            beside.chmod(place.stat().st_mode)
        beside.replace(place)
    except OSError as error:
        raise ConfigError(f"Cannot write the {what}", where=path, seen=error.strerror) from error
