"""Whether there is a screen: decided by what SDL would use, and by servers that answer."""

import socket
import sys

import pytest

from safe_envs.rendering import screen

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="variables of X11 and Wayland")


@pytest.fixture(autouse=True)
def _no_screen(monkeypatch, tmp_path):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(screen, "X11_SOCKETS", str(tmp_path / "X"))


@pytest.fixture
def server(tmp_path):
    """Start servers, each at the address of a screen."""
    opened = []

    def listen(name):
        opened.append(socket.socket(socket.AF_UNIX))
        opened[-1].bind(str(tmp_path / name))
        opened[-1].listen()
        opened[-1].setblocking(False)
        return opened[-1]

    yield listen
    for each in opened:
        each.close()


@pytest.mark.parametrize("display", [":7", "unix:7", ":7.0"])
def test_x11_needs_a_server(monkeypatch, server, display):
    assert not screen.has_screen()
    monkeypatch.setenv("DISPLAY", display)
    assert not screen.has_screen()
    started = server("X7")
    assert screen.has_screen()
    assert screen.has_pygame_screen()
    with pytest.raises(BlockingIOError):  # nobody connected, which would reset a server that idles
        started.accept()


def test_a_socket_of_x11_that_is_no_file(monkeypatch, tmp_path):
    monkeypatch.setenv("DISPLAY", ":8")
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0{tmp_path}/X8")
        abstract.listen()
        assert screen.has_screen()
    assert not screen.has_screen()


@pytest.mark.parametrize("display", ["", ":", "7"])
def test_what_names_no_server_of_x11(monkeypatch, server, display):
    server("X")
    monkeypatch.setenv("DISPLAY", display)
    assert not screen.has_screen() or display == "7"


def test_a_server_on_another_machine_is_not_asked(monkeypatch):
    monkeypatch.setenv("DISPLAY", "elsewhere:10.0")
    assert screen.has_screen()


def test_wayland_needs_a_server(monkeypatch, server):
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-1")
    assert not screen.has_screen()
    server("wayland-1")
    assert screen.has_screen()


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_no_variable_names_the_screen(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    assert screen.has_screen()
    assert screen.has_pygame_screen()


@pytest.mark.parametrize(
    ("driver", "works"),
    [
        ("dummy", True),
        ("offscreen", True),
        ("kmsdrm", True),  # a console without X11; SDL itself tells whether it is one
        ("x11", False),
        ("wayland", False),
        ("x11,dummy", True),
        ("", False),
    ],
)
def test_sdl_obeys_its_variable(monkeypatch, driver, works):
    monkeypatch.setenv("SDL_VIDEODRIVER", driver)
    assert screen.has_pygame_screen() == works
    assert not screen.has_screen()
    modes = screen.shown_modes(["rgb_array", "human"], works)
    assert modes == (["rgb_array", "human"] if works else ["rgb_array"])


def test_a_screen_that_does_not_answer_at_once_is_asked_again(monkeypatch):
    monkeypatch.setattr(screen, "PAUSES", (0.0, 0.0))
    answers = iter([False, True])
    screen.open_screen(lambda: next(answers))
    asked = []
    with pytest.raises(RuntimeError, match="needs a screen, and this process has none"):
        screen.open_screen(lambda: asked.append(1) is not None)
    assert len(asked) == 3
