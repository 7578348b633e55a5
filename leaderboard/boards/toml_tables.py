"""Reads a file of this folder with one table per board, each checked by a model of its fields."""

from __future__ import annotations

import sys
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Table = TypeVar("Table", bound=BaseModel)


def tables_in(text: str, file: str) -> dict[str, Any]:
    """Return the tables in a file's text by environment id, not checked yet.

    Raises:
        ValueError: if the text is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file} cannot be read: {error}") from None


def checked_table(model: type[Table], table: Any, where: str) -> Table:
    """Return a table as its model; `where` names it in errors.

    Raises:
        ValueError: if a field is missing, unknown or wrong.
    """
    try:
        return model.model_validate(table)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        ]
        raise ValueError(f"{where} is wrong: {'; '.join(wrong)}") from None
