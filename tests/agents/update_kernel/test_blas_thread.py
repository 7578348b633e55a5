"""The limit of NumPy's BLAS to one thread while agents learn."""

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from agents.update_kernel.blas_thread import one_blas_thread


def threads():
    np.dot(np.eye(2), np.eye(2))  # the library is loaded
    found = ThreadpoolController().select(user_api="blas").info()
    return {one["num_threads"] for one in found}


@pytest.fixture
def two_threads():
    with threadpool_limits(2, user_api="blas"):
        if threads() != {2}:
            pytest.skip("NumPy has no BLAS here whose threads can be set")
        yield


@pytest.mark.usefixtures("two_threads")
def test_errors_lift_the_limit():
    def interrupted():
        with one_blas_thread():
            assert threads() == {1}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert threads() == {2}


@pytest.mark.usefixtures("two_threads")
def test_the_last_training_to_end_lifts_the_limit():
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # as it may happen in two threads
    assert threads() == {1}
    second.__exit__(None, None, None)
    assert threads() == {2}
    with one_blas_thread():
        assert threads() == {1}
    assert threads() == {2}
