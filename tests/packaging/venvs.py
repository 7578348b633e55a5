"""Builds the distributions, and runs programs in virtual environments without the checkout."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = {"safe-envs": ROOT, "safe-envs-agents": ROOT / "distributions" / "safe-envs-agents"}
SEARCH = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def clean_environment(**more):
    """The variables of this process, without those that would lead to the checkout."""
    kept = {name: value for name, value in os.environ.items() if name not in SEARCH}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


def build(source, folder, kind="wheel"):
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, env=clean_environment())


@dataclass(frozen=True)
class Venv:
    """A virtual environment whose only packages of this project are those installed into it.

    What they depend on is taken from this process's environment.
    """

    folder: Path

    @property
    def site(self):
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def pip(self, *words):
        interpreter = ("--python", self.folder / "bin" / "python")
        command = [sys.executable, "-m", "pip", *interpreter, *words, "--quiet"]
        env = clean_environment(PIP_DISABLE_PIP_VERSION_CHECK="1")
        subprocess.run(list(map(str, command)), check=True, env=env)

    def install(self, *files):
        self.pip("install", "--no-deps", "--no-index", "--no-compile", *files)

    def start(self, *words, cwd, **options):
        """Start a program of the environment as a shell does whose PATH it leads."""
        path = os.pathsep.join([str(self.folder / "bin"), "/usr/bin", "/bin"])
        env = clean_environment(PATH=path, HOME=str(cwd), COLUMNS="200")
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        program = self.folder / "bin" / words[0]
        command = [str(program), *map(str, words[1:])]
        return subprocess.Popen(command, cwd=cwd, env=env, **{**pipes, **options})

    def run(self, *words, cwd):
        """The exit code of a program, and what it printed."""
        with self.start(*words, cwd=cwd) as process:
            printed, _ = process.communicate(timeout=300)
        return process.returncode, printed
