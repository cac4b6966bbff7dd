"""Files that carry their own name: 32 bytes of keccak256, and the canonical bytes that it is the hash of."""

from pathlib import Path
from typing import Final

from eth_hash.auto import keccak

from keeper import files
from keeper.errors import ConfigError, DecodeError

HASH_BYTES: Final = 32


def write(path: Path, content: bytes) -> bytes:
    """Writes the file, whole or not at all, and returns the hash. Raises ConfigError when it cannot."""
    name = keccak(content)
    files.write(path, name + content, "file")
    return name


def read(path: Path, what: str, expected: bytes | None = None) -> bytes:
    """The content. `what` names the kind for people.

    Raises ConfigError when there is no such file, DecodeError when the content does not have the hash that
    the file begins with, or that is `expected`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"Cannot read the {what}", where=path, seen=error.strerror) from error
    claimed, content = data[:HASH_BYTES], data[HASH_BYTES:]
    for wanted in (claimed, expected):
        if wanted is not None and keccak(content) != wanted:
            raise DecodeError(
                f"The {what}'s hash does not match",
                expected=wanted,
                seen=keccak(content),
                where=path,
                hint="The file is damaged, or another one",
            )
    return content
