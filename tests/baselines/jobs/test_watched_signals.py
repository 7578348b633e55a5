"""Ctrl-C and SIGTERM while signals are watched."""

import os
import signal
import threading

import pytest

from baselines.jobs.interruption import Interrupted, watched_signals


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_at_once_with_the_exit_code_of_shells(number, code):
    before = signal.getsignal(number)
    with watched_signals(), pytest.raises(Interrupted) as stop:
        send(number)
    assert stop.value.exit_code == code
    assert signal.getsignal(number) is before


def test_a_deferred_signal_is_noted_and_a_second_one_stops():
    with watched_signals() as watch, watch.deferred():
        watch.stop()  # nothing was asked for
        send(signal.SIGTERM)
        assert watch.requested == signal.SIGTERM
        with pytest.raises(Interrupted):
            watch.stop()
        with pytest.raises(Interrupted) as stop:
            send(signal.SIGINT)
    assert stop.value.number == signal.SIGINT


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with watched_signals() as watch:
            send(signal.SIGINT)
        assert watch.requested is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_watch_nothing():
    handlers = []

    def work():
        with watched_signals():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]
