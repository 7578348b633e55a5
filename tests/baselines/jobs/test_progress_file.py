"""progress.csv as one process writes it, and as two do."""

import csv

import pytest

from baselines.jobs.progress_file import ProgressFile, tensorboard_files

ROWS = [{"b": 1.5, "a": 2}, {"c": "x, y", "a": 0.1}, {"a": float("nan"), "b": None, "c": 'say "z"'}]
TEXT = 'a,b,c\n2,1.5,\n0.1,,"x, y"\nnan,,"say ""z"""\n'


def written(path, rows):
    file = ProgressFile(path)
    for row in rows:
        file.write(row, dict.fromkeys(row, ("",)))
    file.close()
    return path.read_text()


def test_new_columns_come_last_by_name_and_are_empty_before(tmp_path):
    assert written(tmp_path / "whole.csv", ROWS) == TEXT


@pytest.mark.parametrize("split", [0, 1, 2, 3])
def test_a_second_process_goes_on_where_the_first_ended(tmp_path, split):
    path = tmp_path / "parts.csv"
    written(path, ROWS[:split])
    assert written(path, ROWS[split:]) == TEXT


def test_values_that_are_not_for_csv_are_left_out(tmp_path):
    file = ProgressFile(tmp_path / "one.csv")
    file.write({"a": 1, "hidden": 2}, {"a": ("",), "hidden": ("csv",)})
    file.close()
    with (tmp_path / "one.csv").open() as text:
        assert list(csv.DictReader(text)) == [{"a": "1"}]


def test_tensorboard_forgets_what_was_written_after_the_checkpoint(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = tensorboard_files(tmp_path, 0)
    for step in (10, 20, 30):
        first.write({"x": float(step)}, {"x": ("",)}, step)
    first.close()
    second = tensorboard_files(tmp_path, 20)
    for step in (30, 40):
        second.write({"x": -float(step)}, {"x": ("",)}, step)
    second.close()
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("x")
    assert [(one.step, one.value) for one in events] == [
        (10, 10.0),
        (20, 20.0),
        (30, -30.0),
        (40, -40.0),
    ]
