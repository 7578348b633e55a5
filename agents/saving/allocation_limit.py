"""A bound on the memory of networks that are built from the settings in a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

ALLOCATING = frozenset(
    {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full, torch.eye}
)
SMALLEST_LIMIT = 1_000_000  # numbers; a small network and what initializing it takes
COPIES = 20  # that initializing a network may make of its parameters
SMALLEST_COUNT = 10_000  # allocations


class AllocationLimitError(ValueError):
    """A network is much larger than the tensors it is to hold."""


class AllocationLimit(TorchFunctionMode):
    """A context in which new tensors may have only so many numbers altogether.

    A file of a few bytes could otherwise ask for a layer of a million times a million weights,
    which would fill the memory before it turns out that the file does not hold them.

    Args:
        numbers: in the tensors that the network is to hold.
        tensors: how many these are.
    """

    def __init__(self, numbers: int, tensors: int) -> None:
        super().__init__()
        self._numbers = COPIES * max(numbers, SMALLEST_LIMIT)
        self._count = COPIES * tensors + SMALLEST_COUNT

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Refuse an allocation that exceeds the limit, before it happens."""
        kwargs = kwargs or {}
        if func in ALLOCATING:
            self._numbers -= _size(func, args, kwargs)
            self._count -= 1
            if self._numbers < 0 or self._count < 0:
                raise AllocationLimitError(
                    "the network is much larger than its weights in the file"
                )
        return func(*args, **kwargs)


def _size(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> int:
    """Return how many numbers a call of one of `ALLOCATING` asks for."""
    given = kwargs.get("size", args[0] if args and not isinstance(args[0], int) else args)
    if func is torch.eye:
        n = kwargs.get("n", args[0])
        return n * (args[1] if len(args) > 1 else kwargs.get("m", n))
    return math.prod(given) if isinstance(given, Sequence) else 0
