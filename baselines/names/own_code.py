"""Code of the user's own by name: "module:Name", or "file.py:Name".

A module is looked up among the installed packages and in the current folder, a file at its path.
Both are imported, which runs their code. What was imported is identified by a digest of its file,
so that a result never counts as one of code that has changed since.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import os
import re
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from safe_envs.contract.argument_checks import closest_hint

FILE_ENDING = ".py"
TYPO = 0.75  # how close the name of a file is to a misspelled one, as `difflib` measures it
RELATIVE = "attempted relative import"  # part of Python's error
DIGEST = "__sha256__"  # of a file, as it was imported; in its module
OWN_PACKAGES = ("safe_envs", "agents", "baselines", "leaderboard")
ROOT = Path(__file__).parents[2]  # the folder of these packages


class OwnCodeError(ValueError):
    """The code cannot be found, cannot be imported, or fails; the message has the user's line."""


class OwnCodeChanged(OwnCodeError):
    """The code is not what it was when the job was planned or run."""


@dataclass(frozen=True)
class OwnCode:
    """Where a function, a class or the registration of an environment is.

    Args:
        place: name of a module, or absolute path of a Python file.
        name: of what is in it.
        sha256: digest of the files that it was read from; "" for packages of this project.
    """

    place: str
    name: str
    sha256: str = ""

    @property
    def is_file(self) -> bool:
        """Whether the place is a file rather than a module."""
        return self.place.endswith(FILE_ENDING)

    @property
    def label(self) -> str:
        """The short name that tables and folders show: a file without its folder."""
        return f"{Path(self.place).name if self.is_file else self.place}:{self.name}"

    def __str__(self) -> str:
        return f"the file {self.place}" if self.is_file else f"the module {self.place!r}"

    def as_json(self) -> dict[str, str]:
        """Return what identifies the code, for config.json."""
        return {"place": self.place, "name": self.name, "sha256": self.sha256}

    def module(self) -> ModuleType:
        """Import the module or the file, once in each process, and return it.

        Raises:
            OwnCodeError: if there is none, or importing it fails.
        """
        return _file(Path(self.place)) if self.is_file else _module(self.place)

    def found(self, what: str) -> Any:
        """Return the class or function of this name.

        Args:
            what: is expected, for the error.

        Raises:
            OwnCodeError: if there is none of that name; the message has the closest one.
        """
        names = vars(self.module())
        if self.name not in names:
            own = [one for one, value in names.items() if callable(value)]
            raise OwnCodeError(
                f"{self} has no {what} {self.name!r}; {closest_hint(self.name, own)}it has "
                f"{', '.join(sorted(own)) or 'none'}"
            )
        return names[self.name]

    def check_unchanged(self, *defining: Any) -> None:
        """Raise OwnCodeChanged if the files are not those of the digest; "" is any.

        Args:
            *defining: further classes and functions whose files the digest covers.
        """
        if self.sha256 and self.sha256 != self.identified(*defining).sha256:
            raise OwnCodeChanged(
                f"{self.label} has changed since this job was planned or run ({self.place}); start "
                "the command again, which then counts as another job"
            )

    def identified(self, *defining: Any) -> OwnCode:
        """Return the same with the digest of its files as they are now.

        Args:
            *defining: further classes and functions whose files the digest covers.
        """
        files = [self.module().__file__ or "", *map(_source_file, defining)]
        # A module stays as it was imported; a file is imported again after a change.
        digest = _digest if self.is_file else _digest_at_import
        return OwnCode(self.place, self.name, digest(tuple(files)))


def is_own_code(text: str) -> bool:
    """Return whether a text has the form "module:Name" or "file.py:Name"."""
    return ":" in text


def parse_own_code(text: str) -> OwnCode:
    """Return the place and the name in a text; nothing is imported yet.

    Raises:
        ValueError: if one of them is missing.
    """
    place, _, name = text.rpartition(":")
    if not place or not name:
        raise ValueError(f"{text!r} is incomplete; write module:Name or file.py:Name")
    if place.endswith(FILE_ENDING):
        place = str(Path(place).expanduser().resolve())
    return OwnCode(place, name)


def own_code_in(data: dict[str, str]) -> OwnCode:
    """Return the code of a config.json."""
    return OwnCode(data["place"], data["name"], data["sha256"])


def slug(text: str) -> str:
    """Return a name as part of a path."""
    return re.sub(r"[^A-Za-z0-9.=-]+", "_", text)


@contextmanager
def told_by_line(what: str) -> Iterator[None]:
    """Turn an error of the user's code into one line with the place where it happened.

    Args:
        what: was done, for the message.

    Raises:
        OwnCodeError: for any error inside, SystemExit included.
    """
    try:
        yield
    except OwnCodeError:
        raise
    except (Exception, SystemExit) as error:
        where = own_line(error)
        said = f"{type(error).__name__}: {error}"
        raise OwnCodeError(f"{what} failed{f' at {where}' if where else ''}: {said}") from error


@contextmanager
def _importing(what: str) -> Iterator[None]:
    """Tell errors by their line; a file that is a module as well may register its ids twice."""
    with told_by_line(f"importing {what}"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Overriding environment", UserWarning)
        yield


def own_line(error: BaseException) -> str:
    """Return the innermost line of a traceback that is the user's own; "" if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f'{error.filename}, line {error.lineno}, "{(error.text or "").strip()}"'
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not _is_foreign(frame.filename):
            return f'{frame.filename}, line {frame.lineno}, "{frame.line}"'
    return ""


def _is_foreign(filename: str) -> bool:
    """Return whether a file belongs to this project, to Python or to an installed package."""
    if filename.startswith("<"):
        return True
    path = Path(filename).resolve()
    installed = [Path(sysconfig.get_path(one)) for one in ("stdlib", "purelib", "platlib")]
    ours = [ROOT / package for package in OWN_PACKAGES]
    return any(folder.resolve() in path.parents for folder in [*installed, *ours])


def _module(name: str) -> ModuleType:
    _look_in_current_folder()
    try:
        with _importing(name):
            return importlib.import_module(name)
    except OwnCodeError as refused:
        cause = refused.__cause__
        if not isinstance(cause, ModuleNotFoundError) or not _is_missing(name, cause.name):
            raise
        near = [path.stem for path in Path().glob("*.py")]
        near += [path.parent.name for path in Path().glob("*/__init__.py")]
        raise OwnCodeError(
            f"there is no module {name!r}, neither installed nor in {Path().resolve()}; "
            f"{closest_hint(name, near, TYPO)}"
            "run the command in the folder that holds it, or install it"
        ) from None


def _is_missing(name: str, missing: str | None) -> bool:
    """Return whether the missing module is the one asked for, or a package that it is in."""
    return missing is not None and (name == missing or name.startswith(f"{missing}."))


def _look_in_current_folder() -> None:
    """Find modules in the current folder too, after the installed ones.

    `python -m` does this itself; a console script does not.
    """
    folder = os.getcwd()
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)


def _file(path: Path) -> ModuleType:
    """Import a file under a name that no other file has, with its folder as a place of modules."""
    name = f"{slug(path.stem)}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if not path.is_file():
        near = [one.stem for one in path.parent.glob("*.py")] if path.parent.is_dir() else []
        alike = difflib.get_close_matches(path.stem, near, n=1, cutoff=TYPO)
        hint = f"did you mean {alike[0] + FILE_ENDING!r}? " if alike else ""
        raise OwnCodeError(f"there is no file {path}; {hint}check the path")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if name in sys.modules and vars(sys.modules[name])[DIGEST] == digest:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = spec_from_file_location(name, path, loader=SourceFileLoader(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    vars(module)[DIGEST] = digest
    sys.modules[name] = module  # before it runs: dataclasses and pickles look it up
    try:
        with _importing(str(path)):
            spec.loader.exec_module(module)
    except OwnCodeError as refused:
        del sys.modules[name]
        if RELATIVE not in str(refused):
            raise
        raise OwnCodeError(
            f"{refused}; a file is in no package: write `from x import ...` instead of "
            "`from .x import ...`"
        ) from refused
    return module


def _source_file(defined: Any) -> str:
    try:
        return inspect.getsourcefile(inspect.unwrap(defined)) or ""
    except TypeError:  # an instance, or built in
        return ""


def _digest(files: tuple[str, ...]) -> str:
    """Return the digest of the contents of files; "" if all belong to this project."""
    ours = [ROOT / package for package in OWN_PACKAGES]
    own = {
        path.resolve()
        for path in map(Path, files)
        if path.is_file() and not any(folder in path.resolve().parents for folder in ours)
    }
    if not own:
        return ""
    contents = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in own)
    return hashlib.sha256("".join(contents).encode()).hexdigest()


_digest_at_import = cache(_digest)
