"""Whether windows can be opened here, checked without opening one or using OpenGL."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

SCREENLESS_DRIVERS = ("dummy", "offscreen")  # of SDL: windows exist in memory only
ALWAYS_A_SCREEN = ("win32", "cygwin", "darwin")  # platforms that name no screen in a variable
SOCKETS = "/proc/net/unix"
X11_SOCKETS = "/tmp/.X11-unix/X"
PAUSES = (0.05, 0.2, 0.5)  # [s] between attempts to connect
NO_SCREEN = (
    "render_mode='human' needs a screen, and this process has none; set DISPLAY, start the program "
    "with xvfb-run, or pass render_mode='rgb_array'"
)


def has_screen() -> bool:
    """Return whether this process can reach a screen: on Linux, an X11 or Wayland server."""
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
    """Raise a RuntimeError that says what to do, unless there is a screen."""
    if not screen:
        raise RuntimeError(NO_SCREEN)


def open_screen(opens: Callable[[], bool]) -> None:
    """Connect to the screen; raise RuntimeError if it does not answer.

    Args:
        opens: connects and returns whether that succeeded; called again after a moment, because an
            X11 server resets itself when its last client disconnects.
    """
    for pause in PAUSES:
        if opens():
            return
        time.sleep(pause)
    require(opens())


def _driver_works(name: str) -> bool:
    if not name:
        return has_screen()
    if name == "x11":
        return _reaches_x11()
    return name != "wayland" or _reaches_wayland()  # SDL itself rejects other broken drivers


def _reaches_x11() -> bool:
    """Return whether the socket exists; connecting would reset a server without other clients."""
    host, _, number = os.environ.get("DISPLAY", "").rpartition(":")
    if host not in ("", "unix"):
        return True  # on another machine; a connection attempt could take long
    path = X11_SOCKETS + number.partition(".")[0]
    return bool(number) and (os.path.exists(path) or f"@{path}" in _abstract_sockets())


def _reaches_wayland() -> bool:
    name = os.environ.get("WAYLAND_DISPLAY", "")
    return bool(name) and os.path.exists(os.path.join(os.environ.get("XDG_RUNTIME_DIR", ""), name))


def _abstract_sockets() -> list[str]:
    """Return the names of abstract sockets, which are not files and may be shared by a sandbox."""
    try:
        with open(SOCKETS) as table:
            return [line.split()[-1] for line in table]
    except OSError:  # not Linux
        return []
