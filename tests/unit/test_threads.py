from __future__ import annotations

import threading

import pytest

from multibox.threads import ahead, in_a_thread


def test_no_more_is_prepared_ahead_than_asked_for() -> None:
    made: list[int] = []
    results = ahead(made.append, range(100), num_threads=2, num_ahead=3, stop=threading.Event())
    next(results)
    results.close()

    assert len(made) <= 4  # the one that was taken and three ahead


def test_heavy_tasks_are_prepared_less_far_ahead() -> None:
    made: list[int] = []
    weights = [2, 2, 9, 1, 1, 1, 1, 1, 1]
    results = ahead(
        made.append, weights, num_threads=1, num_ahead=4, stop=threading.Event(), weigh=lambda weight: weight
    )
    # Behind the one that is asked for: (2, 9), (9, 1), and with the 9 gone (1, 1, 1, 1) at most and one more.
    for limit in (3, 3, 4, 8):
        next(results)
        assert len(made) <= limit
    results.close()


def test_calls_are_done_in_order_and_all_before_the_end() -> None:
    done: list[int] = []
    with in_a_thread(done.append) as begin:
        for number in range(20):
            begin(number)

    assert done == list(range(20))


def test_a_caller_that_is_too_fast_waits() -> None:
    may_go_on = threading.Semaphore(0)
    begun = 0

    def work(_: int) -> None:
        may_go_on.acquire()

    with in_a_thread(work, max_waiting=3) as begin:
        for number in range(3):  # three may wait: none of these calls blocks
            begin(number)
            begun += 1
        caller = threading.Thread(target=begin, args=(3,))
        caller.start()
        caller.join(0.05)
        assert begun == 3 and caller.is_alive()
        may_go_on.release()  # the oldest is done
        caller.join(10)
        assert not caller.is_alive()
        may_go_on.release(3)


def test_an_error_comes_out_and_ends_the_work() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 2:
            raise RuntimeError("no more")
        done.append(number)

    with pytest.raises(RuntimeError, match="no more"), in_a_thread(work, max_waiting=1) as begin:
        for number in range(6):
            begin(number)

    assert done == [0, 1]
