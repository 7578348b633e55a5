"""Walks through a protobuf message before it is parsed, for what the parser does not check.

Parsing costs up to a hundred times the bytes in memory if a file consists of empty messages: two
bytes each in the file, some two hundred in memory. And text that is not UTF-8 is taken, as bytes.
"""

from __future__ import annotations

from google.protobuf.descriptor import (  # type: ignore[import-untyped]
    Descriptor,
    FieldDescriptor,
)

_VARINT, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5  # wire types
_DEEPEST = 20


class MessageRefused(ValueError):
    """The message has more parts than allowed, or is none."""


def count_parts(content: bytes, message: Descriptor, most: int) -> int:
    """Return how many fields a message and the messages in it have, after checking their text.

    Args:
        content: the message as bytes.
        message: its type.
        most: where to stop counting.

    Raises:
        MessageRefused: if there are more, or the bytes are no such message.
    """
    waiting = [(0, len(content), message, 0)]  # start, end, type, depth
    count = 0
    while waiting:
        position, end, kind, depth = waiting.pop()
        while position < end:
            count += 1
            if count > most or depth > _DEEPEST:
                raise MessageRefused(f"more than {most:,} parts, or more than {_DEEPEST} levels")
            tag, position = _varint(content, position, end)
            start, position = _skip(content, position, end, tag & 7)
            field = kind.fields_by_number.get(tag >> 3)
            if tag & 7 != _COUNTED or field is None:
                continue
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                waiting.append((start, position, field.message_type, depth + 1))
            elif field.type == FieldDescriptor.TYPE_STRING:
                _check_text(content[start:position], start)
    return count


def _skip(content: bytes, position: int, end: int, wire_type: int) -> tuple[int, int]:
    """Return where a value starts and where the next field does."""
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
        raise MessageRefused(f"no ONNX message: wire type {wire_type} at byte {position}")
    if position > end:
        raise MessageRefused(f"no ONNX message: it ends within a field at byte {start}")
    return start, position


def _check_text(text: bytes, start: int) -> None:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        raise MessageRefused(f"no ONNX message: the text at byte {start} is not UTF-8") from None


def _varint(content: bytes, position: int, end: int) -> tuple[int, int]:
    """Return a number of up to ten bytes, and where the next thing starts."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise MessageRefused(f"no ONNX message: a number does not end at byte {position}")
