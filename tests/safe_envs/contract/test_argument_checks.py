"""Checks of arguments: what passes, and that errors name the argument and what came."""

import numpy as np
import pytest

from safe_envs.contract.argument_checks import (
    check_choice,
    check_count,
    check_not_negative,
    check_number,
    check_positive,
    checked_array,
    unknown_name,
)

NOT_NUMBERS = ["3", None, [1.0], True, np.bool_(True), 1j]


@pytest.mark.parametrize("value", [3, 3.0, np.float32(3), np.int64(3)])
def test_numbers_of_python_and_numpy_pass(value):
    check_number("rate", value, low=0.0, high=5.0)
    check_positive(rate=value)
    check_not_negative(rate=value)


@pytest.mark.parametrize("value", [*NOT_NUMBERS, np.nan, np.inf, -1.0])
def test_other_values_are_refused_by_the_arguments_name(value):
    for check in (check_positive, check_not_negative, check_count):
        with pytest.raises(ValueError, match="^rate is .*; pass a"):
            check(rate=value)
    with pytest.raises(ValueError, match="^rate is .*; pass a number >= 0 and <= 5"):
        check_number("rate", value, low=0.0, high=5.0)


def test_counts_are_whole():
    check_count(copies=np.int32(2))
    for value in (0, 1.5, True):
        with pytest.raises(ValueError, match=f"^copies is {value}; pass a whole number >= 1"):
            check_count(copies=value)


def test_choices_name_the_closest():
    check_choice("robot", "Ant", ("Ant", "Hopper"))
    with pytest.raises(ValueError, match="robot is 'Hoper'; did you mean 'Hopper'. pass one of"):
        check_choice("robot", "Hoper", ("Ant", "Hopper"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("here", "place is 'here', not numbers; pass an array of shape .2,.: x and y"),
        ([1.0], "place has shape .1,.; pass an array of shape .2,."),
        ([1.0, np.inf], "place .*NaN or infinite"),
    ],
)
def test_arrays(given, message):
    with pytest.raises(ValueError, match=message):
        checked_array("place", given, (2,), "x and y")
    array = np.zeros(2)
    copy = checked_array("place", array, (2,))
    copy += 1.0
    assert array.tolist() == [0.0, 0.0]


def test_of_very_many_names_the_closest_are_listed():
    names = [f"name_{i}" for i in range(100)]
    assert unknown_name("agent", "NAME_7", names).startswith(
        "unknown agent 'NAME_7'; did you mean 'name_7'? Known: name_7, "
    )
    assert "others" in unknown_name("agent", "x", names)
