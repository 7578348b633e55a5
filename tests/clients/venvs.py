"""A virtual environment per client, with this checkout in it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".clients"
AGENTS = "distributions/safe-envs-agents"
STAMP = "installed"  # a file that says what is in an environment
GENUINE_TASKS = "safety-gymnasium==1.0.0"  # without its dependencies, which are years old


@dataclass(frozen=True)
class Client:
    """A client and what it needs.

    Args:
        name: of its page in docs/clients and of its check here.
        packages: for pip.
        extras: of `safe-envs`.
        with_agents: whether it needs `safe-envs-agents` too.
        home: name of its virtual environment, if it shares one; else the client's.
        unpinned: packages whose release the client dictates, so this project's pin does not apply.
    """

    name: str
    packages: tuple[str, ...]
    extras: tuple[str, ...] = ("mujoco", "bridge")
    with_agents: bool = False
    home: str = ""
    unpinned: tuple[str, ...] = ()


def python_for(client: Client) -> Path:
    """Return the interpreter of the client's environment, which is made if it is missing or old.

    Raises:
        subprocess.CalledProcessError: if pip fails.
    """
    home = CACHE / (client.home or client.name)
    packages = ("-e", f".[{','.join(client.extras)}]", "torch", *client.packages)
    packages += ("-e", AGENTS) if client.with_agents else ()
    wanted = _fingerprint(packages, client.unpinned)
    if not _is_installed(home, wanted):
        print(f"== installing {', '.join(client.packages)} into {home}", flush=True)
        _run(sys.executable, "-m", "venv", home)
        _install(home, packages, client.unpinned)
        _run(home / "bin" / "python", "-m", "pip", "install", "-q", "--no-deps", GENUINE_TASKS)
        (home / STAMP).write_text(wanted)
    return home / "bin" / "python"


def python_beside(venv: Path, clients: Sequence[Client]) -> Path:
    """Return the interpreter of an environment with all the clients beside another's packages.

    Args:
        venv: another virtual environment, with this package's own dependencies.
        clients: which fit each other and those dependencies.

    Raises:
        subprocess.CalledProcessError: if pip fails.
    """
    home = CACHE / "beside"
    packages = tuple(package for client in clients for package in client.packages)
    unpinned = tuple(package for client in clients for package in client.unpinned)
    wanted = _fingerprint((str(venv), *packages), unpinned)
    if not _is_installed(home, wanted):
        print(f"== installing {', '.join(packages)} into {home}", flush=True)
        _run(venv / "bin" / "python", "-m", "venv", home)
        (theirs,) = venv.glob("lib/python*/site-packages")
        (ours,) = home.glob("lib/python*/site-packages")
        (ours / "beside.pth").write_text(f"{theirs.resolve()}\n")
        _install(home, packages, unpinned)
        (home / STAMP).write_text(wanted)
    return home / "bin" / "python"


def _install(home: Path, packages: Sequence[str], unpinned: Sequence[str]) -> None:
    constraints = home / "constraints.txt"
    constraints.write_text("".join(_pins(unpinned)))
    _run(home / "bin" / "python", "-m", "pip", "install", "-q", "-c", constraints, *packages)


def _is_installed(home: Path, wanted: str) -> bool:
    stamp = home / STAMP
    return stamp.is_file() and stamp.read_text() == wanted


def _pins(unpinned: Sequence[str]) -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines(keepends=True)
    return [line for line in lines if line.partition("==")[0] not in unpinned]


def _fingerprint(packages: Sequence[str], unpinned: Sequence[str]) -> str:
    names = ("pyproject.toml", f"{AGENTS}/pyproject.toml", "constraints.txt")
    files = [(ROOT / name).read_text() for name in names]
    return hashlib.sha256("\n".join((repr((packages, unpinned)), *files)).encode()).hexdigest()


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True)
