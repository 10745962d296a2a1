"""In processes of their own: what a signal does to a process that runs tests depends on what it ran before."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from multibox.signals import Interruption, interruption


def run(code: str) -> subprocess.CompletedProcess[str]:
    code = f"import signal; from multibox.signals import interruption\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another matter there")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_the_first_signal_is_told_and_the_handlers_come_back(name: str, code: int) -> None:
    done = run(
        "before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)\n"
        "with interruption() as told:\n"
        f"    print(told.is_set()); signal.raise_signal(signal.{name}); print(told.is_set(), told.exit_code)\n"
        "print(before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)))"
    )
    assert (done.returncode, done.stdout.split()) == (0, ["False", "True", str(code), "True"])


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another matter there")
def test_the_second_signal_ends_the_program_at_once() -> None:
    done = run(
        "with interruption():\n"
        "    signal.raise_signal(signal.SIGINT); print('still here', flush=True)\n"
        "    signal.raise_signal(signal.SIGINT); print('not any more', flush=True)"
    )
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "still here\n")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another matter there")
def test_a_function_may_be_called_at_the_first_signal() -> None:
    done = run("with interruption(lambda: print('told')): signal.raise_signal(signal.SIGTERM); print('still here')")
    assert (done.returncode, done.stdout.split("\n")) == (0, ["told", "still here", ""])


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
