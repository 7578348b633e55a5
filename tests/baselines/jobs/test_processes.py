"""Worker processes: every item is accounted for, also when a worker dies."""

import multiprocessing

from baselines.jobs.processes import DIED, run_in_processes


def test_only_the_item_that_kills_its_worker_is_lost(tmp_path):
    done = [f"open({str(tmp_path / str(i))!r}, 'w').close()" for i in range(3)]
    deadly, failing = "import os; os._exit(9)", "raise OSError('disk full')"
    items = [done[0], deadly, done[1], failing, done[2]]
    reasons = dict(run_in_processes(exec, items, workers=2))
    assert reasons == {
        deadly: DIED,
        failing: "OSError: disk full",
        **dict.fromkeys(done, ""),
    }
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "2"}


def test_leaving_early_ends_the_workers(tmp_path):
    ready = tmp_path / "ready"
    slow = f"import time, pathlib; pathlib.Path({str(ready)!r}).touch(); time.sleep(600)"
    quick = (
        f"import time, pathlib\nwhile not pathlib.Path({str(ready)!r}).exists(): time.sleep(0.01)"
    )
    iterator = run_in_processes(exec, [slow, quick], workers=2)
    assert next(iterator) == (quick, "")
    assert len(multiprocessing.active_children()) == 2
    iterator.close()  # this would take ten minutes if it waited for the slow item
    assert multiprocessing.active_children() == []
