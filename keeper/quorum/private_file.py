"""Files with secrets: read only when nobody but their owner could have."""

import os
import stat
from pathlib import Path
from typing import Final

from keeper.errors import ConfigError

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def read_private(path: Path) -> bytes:
    """The file's content. Raises ConfigError when it cannot be read, or others may read or write it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & OTHERS:
                raise ConfigError(
                    "Key file may be read by others",
                    expected="mode 0600",
                    seen=f"mode {stat.S_IMODE(mode):04o}",
                    where=path,
                    hint=f"chmod 600 {path}",
                )
            return file.read()
    except OSError as error:
        raise ConfigError("Cannot read the key file", where=path, seen=error.strerror) from error
