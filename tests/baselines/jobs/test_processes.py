"""Worker processes: every item is accounted for, also when a worker dies or hangs."""

import multiprocessing
import os
import signal
import sys
import time

import pytest

from baselines.jobs.processes import run_in_processes

STOPS = "from baselines.jobs.interruption import Interrupted; raise Interrupted(15)"
SLEEPS = "import time; time.sleep(600)"


def touches(path):
    return f"open({str(path)!r}, 'w').close()"


def waits_for(path):
    return f"import os, time\nwhile not os.path.exists({str(path)!r}): time.sleep(0.01)"


def kills(sign):
    return f"import os; os.kill(os.getpid(), {sign:d})"


def test_only_the_item_that_kills_its_worker_is_lost(tmp_path):
    done = [touches(tmp_path / str(i)) for i in range(3)]
    reasons = {
        "import os; os._exit(0)": "ended with exit code 0 in the middle of the job (os._exit",
        "import os\nif os.fork() == 0:\n    import time; time.sleep(9)\nos._exit(4)": "exit code 4",
        kills(9): "the worker process was killed by SIGKILL (by hand, or out of memory)",
        kills(15): "the worker process was ended by the signal SIGTERM",
        "raise SystemExit(0)": "SystemExit: the job called sys.exit(0)",
        STOPS: "it was stopped by SIGTERM (exit code 143)",
        "raise KeyboardInterrupt": "KeyboardInterrupt",
        "raise OSError('disk\\nfull')": "OSError: disk full",
        "import nowhere": "ModuleNotFoundError: No module named 'nowhere'",
    }
    items = [done[0], *reasons, *done[1:]]
    told = dict(run_in_processes(exec, items, workers=2))
    assert {item for item, reason in told.items() if not reason} == set(done)
    assert [reasons[item] for item in reasons if reasons[item] not in told[item]] == []
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "2"}


def test_an_item_that_takes_too_long_is_ended_and_its_worker_replaced(tmp_path):
    """One item heeds SIGTERM, the other one does not."""
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"
    items = [SLEEPS, touches(tmp_path / "quick"), deaf]
    told = dict(run_in_processes(exec, items, workers=2, job_timeout=1.0, grace=0.5))
    late = "timed out: it took longer than 1 s"
    assert told == {SLEEPS: late, items[1]: "", deaf: late}
    assert multiprocessing.active_children() == []


def test_workers_are_used_again(tmp_path):
    items = [f"open({str(tmp_path)!r} + f'/{{__import__(\"os\").getpid()}}', 'a')"] * 20
    assert [reason for _, reason in run_in_processes(exec, items, workers=2)] == [""] * 20
    assert len(list(tmp_path.iterdir())) <= 2


def test_leaving_early_ends_the_workers_and_says_so(tmp_path):
    ready, told = tmp_path / "ready", []
    slow = f"{touches(ready)}; {SLEEPS}"
    quick = waits_for(ready)
    iterator = run_in_processes(exec, [slow, quick], 2, on_leaving=lambda: told.append("waits"))
    assert next(iterator) == (quick, "")
    assert len(multiprocessing.active_children()) == 2
    iterator.close()  # this would take ten minutes if it waited for the slow item
    assert multiprocessing.active_children() == []
    assert told == ["waits"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals")
@pytest.mark.parametrize("again", [False, True])
def test_a_worker_has_the_grace_time_to_save_unless_one_presses_ctrl_c_again(tmp_path, again):
    ready, saving, saved = (tmp_path / name for name in ("ready", "saving", "saved"))
    item = f"""
import signal, time
def save(*_):
    {touches(saving)}
    time.sleep({600 if again else 0.5})
    {touches(saved)}
    {STOPS}
signal.signal(signal.SIGTERM, save)
{touches(ready)}
time.sleep(600)
"""
    iterator = run_in_processes(exec, [item, waits_for(ready)], workers=2)
    next(iterator)
    if again:
        press = f"{waits_for(saving)}\nos.kill({os.getpid()}, {signal.SIGINT:d})"
        presser = multiprocessing.get_context("spawn").Process(target=exec, args=(press,))
        presser.start()
        with pytest.raises(KeyboardInterrupt):
            iterator.close()
        presser.join()
    else:
        iterator.close()
    assert saved.exists() != again
    assert multiprocessing.active_children() == []


def test_a_parent_that_dies_lets_its_workers_save(tmp_path):
    """The parent is a process of this test, which kills it."""
    ready, saved = tmp_path / "ready", tmp_path / "saved"
    item = f"""
import signal, time
def save(*_):
    {touches(saved)}
    {STOPS}
signal.signal(signal.SIGTERM, save)
{touches(ready)}
time.sleep(600)
"""
    parent = multiprocessing.get_context("spawn").Process(target=_run, args=([item],))
    parent.start()
    wait_until(ready.exists)
    parent.kill()
    parent.join()
    wait_until(saved.exists)


def _run(items):
    list(run_in_processes(exec, items, workers=1))


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
