"""Connectors as an installer would leave them: modules on the path, and entry points that name them."""

from collections.abc import Mapping
from pathlib import Path

from packages import install

MODULES = {"keeper.connectors": ("mirror", ""), "keeper.kits": ("kit", "Kit")}
"""By group the module, and what its class is called beyond the title."""


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
        brings = {
            group: {each: f"{each}.{module}:{class_}{suffix}" for each, class_ in self.classes.items()}
            for group, (module, suffix) in MODULES.items()
        }
        install(self.folder, "connectors", brings)
