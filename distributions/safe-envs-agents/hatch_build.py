"""Builds safe-envs-agents from packages that lie outside its folder, at the root of the repository.

An archive of sources (sdist) holds the packages inside its folder instead.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


class OneVersion(MetadataHookInterface):
    """The version is that of `safe_envs`, and exactly that version is required."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the version and the dependencies; an sdist has them in its PKG-INFO."""
        source = _repository(self.root) / "safe_envs" / "__init__.py"
        found = VERSION.search(source.read_text("utf-8"))
        if found is None:
            raise ValueError(f'{source} has no line __version__ = "..."')
        metadata["version"] = found[1]
        metadata["dependencies"] = [f"safe-envs=={found[1]}", *self.config["dependencies"]]


class PackagesOfRepository(BuildHookInterface):
    """Includes the packages, except in an editable install, which has `dev-mode-dirs`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Include the files of each package."""
        if version == "editable":
            return
        inside = (Path(self.root) / "PKG-INFO").is_file()
        home = Path(self.root) if inside else _repository(self.root)
        for package in self.config["packages"]:
            build_data["force_include"][str(home / package)] = package


def _repository(root: str) -> Path:
    return Path(root).resolve().parents[1]
