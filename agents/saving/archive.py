"""The container of a saved agent: a zip of one JSON document and one file of tensors.

    agent.json            what the agent is, as JSON
    tensors.safetensors   all arrays, in the safetensors format, stored without compression

Both formats hold data only. Reading checks sizes and names first, so that a file from someone else
can neither run code nor fill the memory.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import safetensors
import torch
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes

from agents.atomic_files import replacing

DOCUMENT, TENSORS = "agent.json", "tensors.safetensors"
LARGEST_DOCUMENT = 4 * 2**20  # [bytes]
MOST_MEMBERS = 64  # of zips of any kind that are looked at
LONGEST_LIST = 5  # names in an error
FIXED_DATE = (1980, 1, 1, 0, 0, 0)  # the same agent leads to the same bytes
BROKEN = (  # what reading a broken zip raises
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    MemoryError,
)


class SavedAgentError(ValueError):
    """A file is not that of an agent, is broken, or holds an agent that cannot be used here."""


class Contents(NamedTuple):
    """What a file holds."""

    document: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def write_archive(path: Any, contents: Contents, largest: int = LARGEST_DOCUMENT) -> None:
    """Write a file, complete or not at all.

    Args:
        path: where; ".zip" is added to a name without suffix, and missing folders are made. Or a
            binary file that can be written to.
        contents: of the file.
        largest: size of the document [bytes].

    Raises:
        TypeError: if `path` is neither.
        ValueError: if the document is too large, or has a number that is not finite.
    """
    text = json.dumps(contents.document, indent=1, allow_nan=False).encode()
    if len(text) > largest:
        raise ValueError(
            f"what is not in arrays takes {len(text)} bytes, at most {largest} are "
            "allowed; pass large tables as NumPy arrays"
        )
    tensors = tensors_to_bytes(
        {name: t.detach().cpu().contiguous().clone() for name, t in contents.tensors.items()}
    )
    if not isinstance(path, str | os.PathLike):
        _write_zip(_binary_file(path, "written to"), text, tensors)
        return
    file = Path(os.fspath(path))
    file = file if file.suffix else file.with_name(f"{file.name}.zip")
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        _write_zip(temporary, text, tensors)


def read_archive(path: Any, largest: int = LARGEST_DOCUMENT) -> Contents:
    """Return what the file of an agent holds; nothing in the file is executed.

    Args:
        path: of the file, with or without ".zip"; or a binary file.
        largest: size of the document [bytes].

    Raises:
        FileNotFoundError: if there is none.
        SavedAgentError: if it is not the file of an agent, or is broken.
    """
    with opened_zip(path) as archive:
        names = archive.namelist()
        if sorted(names) != sorted((DOCUMENT, TENSORS)):
            raise SavedAgentError(f"{shown(path)} {what_else_it_is(archive)}")
        document = document_from_json(member(archive, DOCUMENT, largest), shown(path))
        stored = archive.getinfo(TENSORS)
        if stored.compress_type != zipfile.ZIP_STORED or stored.file_size != stored.compress_size:
            raise SavedAgentError(
                f"{shown(path)} is broken: its tensors are compressed, which save never does"
            )
        content = member(archive, TENSORS, stored.compress_size)
    try:
        return Contents(document, tensors_from_bytes(content))
    except (*BROKEN, safetensors.SafetensorError, TypeError, AttributeError) as error:
        raise SavedAgentError(f"the tensors of {shown(path)} cannot be read: {error}") from error


def shown(path: Any) -> str:
    """Return how to call a file in an error."""
    return str(path) if isinstance(path, str | os.PathLike) else "the file"


@contextmanager
def opened_zip(path: Any) -> Iterator[zipfile.ZipFile]:
    """Yield a zip for reading; a file object is left where it was.

    Raises:
        FileNotFoundError: if there is no such file.
        SavedAgentError: if it is not a zip, or one that repeats a name or has too many.
    """
    if isinstance(path, str | os.PathLike):
        with _found(Path(os.fspath(path))).open("rb") as file, _checked_zip(file, path) as archive:
            yield archive
        return
    file = _binary_file(path, "read from")
    position = file.tell()
    try:
        with _checked_zip(file, path) as archive:
            yield archive
    finally:
        file.seek(position)


def member(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    """Return the content of a member of a zip, of at most `largest` bytes.

    Raises:
        SavedAgentError: if it is larger, encrypted or damaged.
    """
    size = archive.getinfo(name).file_size
    if size > largest:
        raise SavedAgentError(
            f"{shown(archive.filename)} is refused: {name} has {size} bytes, at most "
            f"{largest} are allowed"
        )
    try:
        with archive.open(name) as file:
            content = file.read(largest + 1)
    except (*BROKEN, OSError) as error:
        raise SavedAgentError(
            f"{shown(archive.filename)} is damaged: {name} cannot be read ({error})"
        ) from error
    if len(content) != size:
        raise SavedAgentError(
            f"{shown(archive.filename)} is damaged: {name} ends after {len(content)} of "
            f"{size} bytes"
        )
    return content


def document_from_json(content: bytes, path: str) -> dict[str, Any]:
    """Return a JSON object, strictly: no repeated names, NaN or infinity, and no deep nesting.

    Raises:
        SavedAgentError: if it is anything else.
    """
    try:
        document = json.loads(
            content.decode(),
            object_pairs_hook=_unique,
            parse_constant=_not_a_number,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise SavedAgentError(f"{DOCUMENT} in {path} cannot be read: {reason}") from error
    if not isinstance(document, dict):
        raise SavedAgentError(f"{DOCUMENT} in {path} is a {type(document).__name__}, not an object")
    return document


def what_else_it_is(archive: zipfile.ZipFile) -> str:
    """Return what a zip is that is not the file of an agent, and what to do with it."""
    names = archive.namelist()
    if "data" in names and "policy.pth" in names:
        try:
            data = document_from_json(member(archive, "data", 64 * LARGEST_DOCUMENT), "data")
        except SavedAgentError:
            data = {}
        if "constraints" in data and "settings" in data:
            return (
                "was saved by an earlier version, whose files hold pickles and are no longer "
                "opened; train the agent again"
            )
        return (
            f"is a file of Stable-Baselines3{_policy_of(data)}, not of an agent of this package; "
            "load it with the class that saved it, or take over its weights with "
            "agent.warm_start(path)"
        )
    if any(name.endswith("/data.pkl") for name in names):
        return "is a file of torch.save, not of an agent; pass a file that save of an agent wrote"
    listed = ", ".join(repr(name[:80]) for name in names[:LONGEST_LIST])
    more = "" if len(names) <= LONGEST_LIST else f" and {len(names) - LONGEST_LIST} others"
    return (
        f"is not the file of an agent: it holds {listed or 'nothing'}{more}, and not exactly "
        f"{DOCUMENT!r} and {TENSORS!r}"
    )


def _policy_of(data: dict[str, Any]) -> str:
    described = data.get("policy_class")
    named = described.get("__module__") if isinstance(described, dict) else None
    return f" (its policy is of {named})" if isinstance(named, str) else ""


def _write_zip(file: BinaryIO, text: bytes, tensors: bytes) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        document = zipfile.ZipInfo(DOCUMENT, FIXED_DATE)
        archive.writestr(document, text, zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo(TENSORS, FIXED_DATE), tensors, zipfile.ZIP_STORED)


def _binary_file(file: Any, purpose: str) -> Any:
    if isinstance(file, io.TextIOBase) or not hasattr(file, "read") or not hasattr(file, "seek"):
        raise TypeError(
            f"path is {file!r}; pass a path, or a binary file that can be {purpose} "
            "(io.BytesIO(), or open(..., 'rb'))"
        )
    return file


def _found(path: Path) -> Path:
    """Return the path of the file, with ".zip" if there is none without."""
    with_suffix = path.with_name(f"{path.name}.zip") if path.name else path
    for one in (path, with_suffix):
        if one.is_file():
            return one
    if path.is_dir():
        raise SavedAgentError(f"{path} is a folder; pass the file of an agent, such as model.zip")
    raise FileNotFoundError(f"there is no file {path}, nor {with_suffix.name}")


def _checked_zip(file: Any, path: Any) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(file)
    except (*BROKEN, OSError) as error:
        raise SavedAgentError(
            f"{shown(path)} is not the file of an agent, or only a part of one: {error}"
        ) from error
    names = archive.namelist()
    if len(names) > MOST_MEMBERS:
        raise SavedAgentError(
            f"{shown(path)} is not the file of an agent: it holds {len(names)} files"
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SavedAgentError(f"{shown(path)} is refused: it holds {twice[:80]!r} more than once")
    return archive


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is repeated")
    return found


def _not_a_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is too large")
    return number
