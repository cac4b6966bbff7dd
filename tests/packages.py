"""What an installer leaves of a package, beside its modules."""

from collections.abc import Mapping
from pathlib import Path


def install(folder: Path, name: str, brings: Mapping[str, Mapping[str, str]]) -> None:
    """Metadata of a package in a folder that is, or will be, on the path; `brings` are its entry points by
    group and name. Installed once more, it brings these alone."""
    metadata = folder / f"{name}-1.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    lines = []
    for group, entries in brings.items():
        lines += [f"[{group}]", *(f"{entry} = {value}" for entry, value in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
