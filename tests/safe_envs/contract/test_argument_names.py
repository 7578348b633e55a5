"""Unknown arguments are errors that name the closest match and the known arguments."""

import inspect

import pytest

from safe_envs.contract.argument_names import known_arguments


class Walker:
    @known_arguments()
    def __init__(self, speed=1.0, *, cost_limits=None):
        self.given = speed, cost_limits


@known_arguments(Walker)
def walkers(num_envs=1, **arguments):
    return [Walker(**arguments) for _ in range(num_envs)]


def test_known_arguments_arrive():
    assert Walker(2.0, cost_limits=3.0).given == (2.0, 3.0)
    assert [w.given for w in walkers(2, speed=4.0)] == [(4.0, None)] * 2
    assert list(inspect.signature(Walker).parameters) == ["speed", "cost_limits"]


def test_unknown_arguments_are_named():
    with pytest.raises(TypeError) as refused:
        Walker(cost_limit=1.0)
    assert str(refused.value) == (
        "Walker() got an unexpected keyword argument 'cost_limit'; did you mean 'cost_limits'? "
        "Known: cost_limits, speed"
    )
    with pytest.raises(TypeError) as refused:
        walkers(num_env=2)
    assert str(refused.value) == (
        "test_argument_names.walkers() got an unexpected keyword argument 'num_env'; "
        "did you mean 'num_envs'? Known: cost_limits, num_envs, speed"
    )


def test_libraries_that_try_out_arguments_recognize_the_refusal():
    """torchrl passes `frameskip`, and leaves it out if Python's own words come back."""

    def plain(speed=1.0):
        return speed

    with pytest.raises(TypeError) as of_python:
        plain(frameskip=1)
    _, _, words = str(of_python.value).partition("plain() ")
    with pytest.raises(TypeError) as refused:
        Walker(frameskip=1)
    assert words == "got an unexpected keyword argument 'frameskip'"
    assert words in str(refused.value)
