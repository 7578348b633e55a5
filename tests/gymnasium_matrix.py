"""Run the environments' tests on several Gymnasium releases, without any learning framework.

`python tests/gymnasium_matrix.py [--gymnasium 0.29.1 1.2.2 1.4.0] [--python python3.12 ...]`
builds the wheel, installs it with each release into a fresh virtual environment and runs
`tests/safe_envs` there against the installed wheel. Exits with 1 if any combination fails.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RELEASES = ("0.29.1", "1.2.2", "1.4.0")
TOOLS = ("pytest", "hypothesis", "pygame-ce", "mujoco")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gymnasium", nargs="+", default=list(RELEASES))
    parser.add_argument("--python", nargs="+", default=[sys.executable])
    arguments = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (wheel,) = Path(folder).glob("*.whl")
        for python in arguments.python:
            for release in arguments.gymnasium:
                name = f"{Path(python).name}, gymnasium {release}"
                print(f"== {name}", flush=True)
                if not passes(python, release, wheel, Path(folder)):
                    failed.append(name)
    print("all combinations passed" if not failed else f"failed: {'; '.join(failed)}")
    return 1 if failed else 0


def passes(python: str, release: str, wheel: Path, folder: Path) -> bool:
    """Install and test one combination."""
    home = Path(tempfile.mkdtemp(dir=folder))
    subprocess.run([python, "-m", "venv", str(home / "venv")], check=True)
    run = str(home / "venv" / "bin" / "python")
    wanted = [str(wheel), f"gymnasium=={release}", *TOOLS]
    subprocess.run([run, "-m", "pip", "install", "-q", *wanted], check=True)
    check = "import importlib.util as u; assert not u.find_spec('torch'), 'torch is installed'"
    subprocess.run([run, "-c", check], check=True)
    command = [run, "-m", "pytest", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    command += ["--rootdir", str(ROOT), "-o", "pythonpath=", str(ROOT / "tests" / "safe_envs")]
    return subprocess.run(command, cwd=home).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
