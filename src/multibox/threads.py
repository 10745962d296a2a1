"""Work that threads do beside: results made ahead of their use, and calls done behind the caller's back."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

import cv2

Task = TypeVar("Task")
Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


def ahead(
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    num_threads: int,
    num_ahead: int | None = None,
    stop: threading.Event | None = None,
    weigh: Callable[[Task], int] = lambda _: 1,
) -> Generator[Result, None, None]:
    """Results of the tasks in their order, made ahead by threads; errors come out where the result would.

    By default, two for each thread are made ahead.

    Tasks that `weigh` more than `num_ahead` together, the next one aside, are not begun before they are asked for.

    When the iterator is closed or fails, `stop` is set, what is being made is waited for, and the threads end.
    """
    if num_threads == 0:
        yield from map(work, tasks)
        return
    # The threads are the parallelism: OpenCV's own, on top of them, would only take processors from the training.
    # It is a setting of the whole process and stays: at these sizes OpenCV gains next to nothing from threads.
    cv2.setNumThreads(1)
    pending: deque[tuple[Future[Result], int]] = deque()
    weight = 0
    limit = 2 * num_threads if num_ahead is None else num_ahead
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="multibox-loader")
    try:
        for task in tasks:
            pending.append((pool.submit(work, task), weigh(task)))
            weight += pending[-1][1]
            while weight > limit:
                future, own = pending.popleft()
                weight -= own
                yield future.result()
        while pending:
            yield pending.popleft()[0].result()
    finally:
        if stop is not None:
            stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def in_a_thread(
    work: Callable[[*Arguments], None], *, max_waiting: int | None = None
) -> Iterator[Callable[[*Arguments], None]]:
    """A function that has `work` done in a thread, one call after the other, and does not wait for it.

    Only if more than `max_waiting` calls are not done yet, it waits for the oldest. The end of the context waits for
    all. An error comes out of a later call, or there; no work is done after it.
    """
    calls: deque[Future[None]] = deque()
    stop = threading.Event()

    def do(*arguments: *Arguments) -> None:
        if stop.is_set():
            return
        try:
            work(*arguments)
        except BaseException:
            stop.set()
            raise

    def begin(*arguments: *Arguments) -> None:
        calls.append(pool.submit(do, *arguments))
        while calls and (calls[0].done() or (max_waiting is not None and len(calls) > max_waiting)):
            calls.popleft().result()

    with ThreadPoolExecutor(1, thread_name_prefix="multibox-behind") as pool:
        try:
            yield begin
            for call in calls:
                call.result()
        finally:
            stop.set()


def do_threads_hang() -> bool:
    """Whether a thread of ours hangs in a driver, a network or a decoder: only those are daemons.

    A program that ends the usual way while one of them runs code of C++ may crash on its last step.
    """
    return any(thread.daemon and thread.name.startswith("multibox-") for thread in threading.enumerate())
