"""Writes the result of a run, and reads it back from files that may have been damaged since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from baselines.atomic_files import write_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RESULT, DIGESTS = "result.json", "sha256.json"
AResult = TypeVar("AResult", bound="DataclassInstance")


class DamagedFile(ValueError):
    """A file of a run cannot be read, or is not what the run wrote; the message names it."""


def checked_result(kind: type[AResult], data: Mapping[str, Any]) -> AResult:
    """Return the dataclass that `dataclasses.asdict` turned into JSON data.

    Args:
        kind: its class, which may contain other dataclasses.
        data: as `json.loads` returns it.

    Raises:
        ValueError: if an entry is missing, unknown, of another type or not finite, or if the
            class itself refuses its entries.
    """
    text = json.dumps(data, allow_nan=False)
    try:
        result = _adapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from None
    _check_known(data, asdict(result), "")
    return result


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        DamagedFile: if it is missing, cannot be read, or is none.
    """
    try:
        found = json.loads(path.read_text("utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise DamagedFile(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{path} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise DamagedFile(f"{path} is damaged: it holds no JSON object")
    return found


def write_result(folder: Path, result: DataclassInstance, files: Iterable[str]) -> None:
    """Write result.json, which marks a run as done, after the digests of its other files.

    Args:
        folder: of the run.
        result: what it measured.
        files: names of its files; those that are missing, and folders, are left out.
    """
    found = {name: file_digest(folder / name) for name in files if (folder / name).is_file()}
    write_json(folder / DIGESTS, found)
    write_json(folder / RESULT, asdict(result))


def check_files(folder: Path, needed: Iterable[str]) -> None:
    """Check the files of a run against the digests that it wrote.

    Runs of earlier versions have no digests; of those, only the needed files have to exist.

    Args:
        folder: of the run.
        needed: names of the files that it must have.

    Raises:
        DamagedFile: if one is missing, cannot be read, or has changed since.
    """
    digests = read_json_object(folder / DIGESTS) if (folder / DIGESTS).exists() else {}
    for name in dict.fromkeys([*needed, *digests]):
        path = folder / name
        try:
            found = file_digest(path)
        except OSError as error:
            raise DamagedFile(f"{path} cannot be read: {error.strerror}") from error
        if name in digests and found != digests[name]:
            raise DamagedFile(f"{path} is damaged: it is not what the run wrote")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _adapter(kind: type[AResult]) -> TypeAdapter[AResult]:
    return TypeAdapter(kind)


def _check_known(data: Any, known: Any, place: str) -> None:
    """Raise ValueError if the data has a key that the result has not."""
    if isinstance(data, Mapping) and isinstance(known, Mapping):
        for key, value in data.items():
            if key not in known:
                raise ValueError(f"{place}{key}: unknown entry")
            _check_known(value, known[key], f"{place}{key}.")
    elif isinstance(data, list) and isinstance(known, list):
        for i, (value, other) in enumerate(zip(data, known, strict=True)):
            _check_known(value, other, f"{place}{i}.")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it contains {name}, which is not a finite number")
