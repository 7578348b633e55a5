"""Whether windows can be opened here, found out without opening one or touching OpenGL."""

from __future__ import annotations

import os
import socket
import sys

SCREENLESS_DRIVERS = ("dummy", "offscreen")  # of SDL: windows exist in memory only
ALWAYS_A_SCREEN = ("win32", "cygwin", "darwin")  # platforms whose screen no variable names
X11_SOCKETS = "/tmp/.X11-unix/X"
NO_SCREEN = (
    "render_mode='human' needs a screen, and this process has none; set DISPLAY, start the program "
    "with xvfb-run, or pass render_mode='rgb_array'"
)


def has_screen() -> bool:
    """Return whether this process can reach a screen: on Linux, a server of X11 or Wayland."""
    return sys.platform in ALWAYS_A_SCREEN or _reaches_x11() or _reaches_wayland()


def has_pygame_screen() -> bool:
    """Return whether pygame can open a window, which SDL_VIDEODRIVER decides if it is set."""
    return any(_driver_works(name) for name in chosen_drivers())


def chosen_drivers() -> list[str]:
    """Return SDL's drivers that the variable SDL_VIDEODRIVER allows; [""] if it is not set."""
    return [name.strip() for name in os.environ.get("SDL_VIDEODRIVER", "").lower().split(",")]


def shown_modes(modes: list[str], screen: bool) -> list[str]:
    """Return the render modes of an environment that work here; without a screen, not "human"."""
    return [mode for mode in modes if screen or mode != "human"]


def require(screen: bool) -> None:
    """Raise RuntimeError, which says what to do, unless there is a screen."""
    if not screen:
        raise RuntimeError(NO_SCREEN)


def _driver_works(name: str) -> bool:
    if not name:
        return has_screen()
    if name == "x11":
        return _reaches_x11()
    return name != "wayland" or _reaches_wayland()  # SDL itself refuses others that do not work


def _reaches_x11() -> bool:
    host, _, number = os.environ.get("DISPLAY", "").rpartition(":")
    if host not in ("", "unix"):
        return True  # of another machine; asking it could take long
    path = X11_SOCKETS + number.partition(".")[0]
    return bool(number) and (_answers(path) or _answers("\0" + path))


def _reaches_wayland() -> bool:
    name = os.environ.get("WAYLAND_DISPLAY", "")
    return bool(name) and _answers(os.path.join(os.environ.get("XDG_RUNTIME_DIR", ""), name))


def _answers(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
        except OSError:
            return False
    return True
