"""Both wheels, built once, and virtual environments that hold them without the checkout."""

import subprocess
import sys
import sysconfig

import pytest

from tests.packaging.venvs import SOURCES, Venv, build, clean_environment


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """The wheels by the names of the distributions."""
    found = {}
    for name, source in SOURCES.items():
        folder = tmp_path_factory.mktemp("wheel")
        build(source, folder)
        (found[name],) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def new_venv(tmp_path_factory):
    """Makes a virtual environment.

    A line in a .pth file adds a folder to the search path but does not read the .pth files in it,
    so that the editable install of the checkout is not found.
    """

    def make():
        folder = tmp_path_factory.mktemp("venv")
        command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
        subprocess.run(command, check=True, env=clean_environment())
        venv = Venv(folder)
        (venv.site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        return venv

    return make


@pytest.fixture(scope="session")
def installed(wheels, new_venv):
    """A virtual environment with both distributions; leave it as it is."""
    venv = new_venv()
    venv.install(*wheels.values())
    return venv
