"""Reading a scene's configuration files: cached, and with plain textures if requested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from pathlib import Path
from typing import Any, TextIO

from safe_envs.safety_gymnasium_bridge.fast_paths import is_fast

SKY = {  # drawn by MuJoCo itself, instead of six photographs of 24 MB
    "@type": "skybox",
    "@builtin": "gradient",
    "@rgb1": "0.35 0.45 0.6",
    "@rgb2": "0.02 0.02 0.08",
    "@width": "32",
    "@height": "192",
}
COLORS = {  # for the textures that the wheel of 1.0.0 lacks
    "village_floor": "0.75 0.70 0.58",
    "bush": "0.25 0.45 0.20",
    "flower_bush": "0.80 0.35 0.45",
    "bamboo_wall": "0.62 0.62 0.32",
    "wooden_door1": "0.45 0.30 0.18",
}
ROCK = "0.5 0.47 0.44"  # the cliffs, and anything else

_plain: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def sky(*, plain: bool) -> Iterator[None]:
    """Choose the sky of scenes that are built in this block and thread.

    It does not affect physics, nor any observation except camera images.
    """
    token = _plain.set(plain)
    try:
        yield
    finally:
        _plain.reset(token)


class SceneFiles:
    """Replaces the module `yaml` where the genuine package reads its scenes.

    Textures whose file is missing are replaced by flat colors.
    """

    def __init__(self, yaml: Any) -> None:
        self._yaml = yaml
        self._parsed: dict[str, Any] = {}
        self.FullLoader = yaml.FullLoader

    def load(self, file: TextIO, Loader: Any) -> Any:
        """Return the content of an opened file; the caller may change it."""
        if not is_fast():
            content = self._yaml.load(file, Loader=Loader)
        else:
            if file.name not in self._parsed:
                self._parsed[file.name] = self._yaml.load(file, Loader=Loader)
            content = deepcopy(self._parsed[file.name])
        if "textures" in content:
            folder = Path(file.name).parent.parent / "assets" / "textures"
            content["textures"] = _drawable(content["textures"], folder)
        return content


def _drawable(textures: dict[str, dict[str, str]], folder: Path) -> dict[str, dict[str, str]]:
    drawable = {
        name: texture if _is_there(texture, folder) else _flat(name)
        for name, texture in textures.items()
    }
    if _plain.get():
        drawable["skybox"] = dict(SKY)
    return drawable


def _is_there(texture: dict[str, str], folder: Path) -> bool:
    return "@file" not in texture or (folder / texture["@file"]).exists()


def _flat(name: str) -> dict[str, str]:
    color = COLORS.get(name, ROCK)
    size = {"@width": "8", "@height": "8"}
    return {"@name": name, "@type": "2d", "@builtin": "flat", "@rgb1": color, **size}
