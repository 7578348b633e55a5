"""The rules for tensors in a policy file: all of their numbers are in the file."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from onnx import TensorProto

from leaderboard.policy_files.policy_refused import PolicyRefused, listed, shortened

LARGEST_MODEL = 5 * 1024 * 1024  # [bytes] of the file, and of all its tensors together
MOST_DIMENSIONS = 8
ITEM_SIZES: dict[int, int] = {  # [bytes] per number, of the allowed types
    TensorProto.FLOAT: 4,
    TensorProto.DOUBLE: 8,
    TensorProto.INT32: 4,
    TensorProto.INT64: 8,
    TensorProto.BOOL: 1,
}
_DATA_FIELDS: dict[int, str] = {  # the field with a tensor's numbers if they are not raw bytes
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT32: "int32_data",
    TensorProto.INT64: "int64_data",
    TensorProto.BOOL: "int32_data",
}
_FIELDS = frozenset(["dims", "data_type", "name", "doc_string", "metadata_props", "raw_data"])
_FIELDS |= {"data_location", *_DATA_FIELDS.values()}


def check_tensors(tensors: Iterable[TensorProto]) -> None:
    """Check that tensors have as many numbers as they declare, in this file, and not too many.

    NaN is refused; infinities are allowed, since they may be the bounds of a Clip or a mask.

    Raises:
        PolicyRefused: naming the first tensor that does not.
    """
    total = 0
    for tensor in tensors:
        total += _checked_bytes(tensor, f"tensor {shortened(tensor.name)!r}")
        if total > LARGEST_MODEL:
            raise PolicyRefused(
                f"the tensors have more than {LARGEST_MODEL:,} bytes; submit a smaller network"
            )


def _checked_bytes(tensor: TensorProto, what: str) -> int:
    """Check that a tensor's numbers are all there and return its size."""
    if tensor.external_data or tensor.data_location != TensorProto.DEFAULT:
        raise PolicyRefused(
            f"{what} is in another file; allowed: one file with all numbers in it; export with "
            "external_data=False"
        )
    for field, _ in tensor.ListFields():
        if field.name not in _FIELDS:
            raise PolicyRefused(
                f"{what} has {field.name!r}; allowed: {listed(_FIELDS)}; store plain numbers"
            )
    item_size = ITEM_SIZES.get(tensor.data_type)
    if item_size is None:
        raise PolicyRefused(
            f"{what} has the element type {type_name(tensor.data_type)}; allowed: "
            f"{type_names(ITEM_SIZES)}; convert it"
        )
    if len(tensor.dims) > MOST_DIMENSIONS or any(size < 0 for size in tensor.dims):
        raise PolicyRefused(
            f"{what} has an impossible shape; allowed: up to {MOST_DIMENSIONS} "
            "sizes >= 0; export it again"
        )
    count = math.prod(tensor.dims)
    if count != _counted_numbers(tensor, item_size, what):
        raise PolicyRefused(
            f"{what} declares {count:,} numbers but holds a different number; export it again"
        )
    _check_no_nan(tensor, what)
    return count * item_size


def _counted_numbers(tensor: TensorProto, item_size: int, what: str) -> int:
    named = _DATA_FIELDS[tensor.data_type]
    filled = [field.name for field, _ in tensor.ListFields() if field.name.endswith("_data")]
    if [name for name in filled if name not in (named, "raw_data")] or len(filled) > 1:
        raise PolicyRefused(
            f"{what} holds {listed(filled)}; allowed: raw_data or {named}; keep one"
        )
    if tensor.HasField("raw_data"):
        whole, rest = divmod(len(tensor.raw_data), item_size)
        return whole if rest == 0 else -1
    lengths = {
        "float_data": len(tensor.float_data),
        "double_data": len(tensor.double_data),
        "int32_data": len(tensor.int32_data),
        "int64_data": len(tensor.int64_data),
    }
    return lengths[named]


def _check_no_nan(tensor: TensorProto, what: str) -> None:
    """Refuse NaN."""
    kinds: dict[int, str] = {TensorProto.FLOAT: "<f4", TensorProto.DOUBLE: "<f8"}
    if tensor.data_type not in kinds:
        return
    if tensor.HasField("raw_data"):
        numbers = np.frombuffer(tensor.raw_data, kinds[tensor.data_type])
    else:
        numbers = np.array([*tensor.float_data, *tensor.double_data])
    if np.isnan(numbers).any():
        raise PolicyRefused(f"{what} contains NaN; train the policy again")


def type_name(number: int) -> str:
    """Return the name of an element type."""
    known = {value: name for name, value in TensorProto.DataType.items()}
    return known.get(number, f"{number}, which ONNX does not define")


def type_names(numbers: Iterable[int]) -> str:
    """Return the names of element types."""
    return ", ".join(map(type_name, numbers))
