"""One thread for NumPy's matrix products, which are too small to be shared by several."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import lru_cache

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> AbstractContextManager[object]:
    """Keep NumPy's BLAS to one thread; products of 64 x 64 matrices are six times slower on two.

    Results then do not depend on the number of processors either.
    """
    return _controller().limit(limits=1, user_api="blas")


@lru_cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # finding the libraries takes some milliseconds
