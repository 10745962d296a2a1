from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from multibox.interruption import Interruption, interruption

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself these signals")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_is_told_and_the_handlers_come_back(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with interruption() as told:
        assert not told.is_set()
        os.kill(os.getpid(), number)
        assert (told.is_set(), told.exit_code) == (True, code)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_the_second_signal_ends_the_program_at_once() -> None:
    code = (
        "import os, signal; from multibox.interruption import interruption\n"
        "with interruption():\n"
        "    os.kill(os.getpid(), signal.SIGINT); print('still here', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT); print('not any more', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "still here\n")


def test_a_program_that_ends_itself_has_not_failed() -> None:
    told = Interruption()
    told.ask()
    assert (told.is_set(), told.exit_code) == (True, 0)


def test_outside_the_main_thread_nothing_is_told() -> None:
    def work() -> Interruption:
        with interruption() as told:
            return told

    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(work).result().is_set()
