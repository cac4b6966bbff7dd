"""A compiler that answers from memory: `recall.py COMPILER FOLDER ARGUMENT…`.

With dynamic linking Forge asks for the interfaces of all sources whenever its tests are filtered, 7 s for
each call, and always the same question.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    """The compiler's exit code. Only what succeeded is remembered."""
    compiler, folder, *rest = arguments
    question = b"" if "--version" in rest else sys.stdin.buffer.read()
    # The other arguments name folders, which the answer does not depend on.
    kind = b"version" if "--version" in rest else b"compile"
    kept = Path(folder) / hashlib.sha256(kind + question).hexdigest()
    if kept.is_file():
        sys.stdout.buffer.write(kept.read_bytes())
        return 0
    done = subprocess.run([compiler, *rest], input=question, stdout=subprocess.PIPE)
    sys.stdout.buffer.write(done.stdout)
    if done.returncode == 0:
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(done.stdout)
        fresh.replace(kept)
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
