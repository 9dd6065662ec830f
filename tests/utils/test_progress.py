"""Ctrl-C stops after the batch, a second one at once; SIGTERM may be repeated."""

import os
import signal

import pytest

from utils.progress import stopping


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stopping() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        if number == signal.SIGTERM:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_torchrun_passes_on_is_no_second_wish(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with stopping() as stop:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert stop()
