"""Checks a protobuf message before it is parsed, for what the parser does not check.

A file of empty messages takes up to a hundred times its size in memory when it is parsed: two bytes
each in the file, about two hundred in memory. The parser also accepts text that is not UTF-8, and
of a field given twice it keeps the last value, so the first would be in the file unseen.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.descriptor import (  # type: ignore[import-untyped]
    Descriptor,
    FieldDescriptor,
)

_VARINT, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5  # wire types
_DEEPEST = 20


class MessageRefused(ValueError):
    """The bytes are not a message, or it has too many parts."""


@dataclass(frozen=True)
class Parts:
    """What a message consists of."""

    fields: int
    text_bytes: int  # of names, comments, metadata


def count_parts(content: bytes, message: Descriptor, most: int) -> Parts:
    """Return the number of fields in a message and those inside it, and the size of their text.

    Args:
        content: the message as bytes.
        message: its type.
        most: allowed fields.

    Raises:
        MessageRefused: if there are more, a single value is given twice, text is not UTF-8, or the
            bytes are not such a message.
    """
    waiting = [(0, len(content), message, 0)]  # start, end, type, depth
    count = text = 0
    while waiting:
        position, end, kind, depth = waiting.pop()
        single: set[int] = set()
        while position < end:
            count += 1
            if count > most or depth > _DEEPEST:
                raise MessageRefused(f"more than {most:,} parts, or more than {_DEEPEST} levels")
            tag, position = _varint(content, position, end)
            start, position = _skip(content, position, end, tag & 7)
            field = kind.fields_by_number.get(tag >> 3)
            if field is not None:
                _check_single(field, single)
            if tag & 7 != _COUNTED or field is None:
                continue
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                waiting.append((start, position, field.message_type, depth + 1))
            elif field.type == FieldDescriptor.TYPE_STRING:
                _check_text(content[start:position], start)
                text += position - start
    return Parts(count, text)


def _check_single(field: FieldDescriptor, found: set[int]) -> None:
    """Refuse a second value of a field that is not repeated."""
    if field.default_value == []:  # that of repeated fields
        return
    if field.number in found:
        raise MessageRefused(f"{field.name!r} is given twice")
    found.add(field.number)


def _skip(content: bytes, position: int, end: int, wire_type: int) -> tuple[int, int]:
    """Return where a value starts and where the next field starts."""
    start = position
    if wire_type == _VARINT:
        _, position = _varint(content, position, end)
    elif wire_type == _EIGHT_BYTES:
        position += 8
    elif wire_type == _FOUR_BYTES:
        position += 4
    elif wire_type == _COUNTED:
        length, start = _varint(content, position, end)
        position = start + length
    else:
        raise MessageRefused(f"not an ONNX message: wire type {wire_type} at byte {position}")
    if position > end:
        raise MessageRefused(f"not an ONNX message: it ends within a field at byte {start}")
    return start, position


def _check_text(text: bytes, start: int) -> None:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        raise MessageRefused(
            f"not an ONNX message: the text at byte {start} is not UTF-8"
        ) from None


def _varint(content: bytes, position: int, end: int) -> tuple[int, int]:
    """Return a number of up to ten bytes and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise MessageRefused(f"not an ONNX message: a number does not end at byte {position}")
