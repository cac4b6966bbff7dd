"""Connectors as an installer would leave them: modules on the path, and entry points that name them."""

from collections.abc import Mapping
from pathlib import Path

MODULES = {"keeper.connectors": "mirror", "keeper.kits": "kit"}


class Site:
    """A folder on the path. Every connector added is a package of its own name, in one distribution."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.classes: dict[str, str] = {}

    def add(self, name: str, title: str, files: Mapping[str, str]) -> None:
        """Writes a package with the class `title` in its `mirror`, and with `title`Kit in its `kit`."""
        for path, text in files.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        self.classes[name] = title
        metadata = self.folder / "connectors-1.dist-info"
        metadata.mkdir(exist_ok=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: connectors\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text(self._entry_points())

    def _entry_points(self) -> str:
        lines = []
        for group, module in MODULES.items():
            suffix = "Kit" if module == "kit" else ""
            lines.append(f"[{group}]")
            lines += [f"{name} = {name}.{module}:{title}{suffix}" for name, title in self.classes.items()]
        return "\n".join(lines) + "\n"
