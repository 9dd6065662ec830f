"""Overlap the stages of a pipeline: run one in a thread of its own, ahead of its reader."""

import atexit
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")


def ahead(items: Generator[Item, None, None], limit: int) -> Generator[Item, None, None]:
    """Yield the items of a generator that runs in a thread of its own, up to `limit` items ahead.

    Order and errors are those of the generator itself: its error is raised after the items before
    it. If the reader closes earlier, items and errors it has not come to are dropped.

    When this generator ends or is closed, `items` has been closed, by the thread that ran it, and
    the thread has ended. That waits for the item in the making, so close this generator
    (`contextlib.closing`) instead of leaving it to the garbage collector.

    What belongs to a thread, such as torch's grad mode, must be set inside `items`.

    Args:
        items: The stage; nothing else may use it.
        limit: Items that are held or in the making besides the one that was yielded last; 0 runs
            the generator in the reader's own thread.
    """
    if limit == 0:
        with closing(items):
            yield from items
        return
    stage = _Stage(items, limit)
    atexit.register(stage.stop)  # a daemon's C code must not outlive the libraries that it uses
    try:
        stage.start()
        yield from stage.take()
    finally:
        stage.stop()
        atexit.unregister(stage.stop)


class _Stage(Generic[Item]):
    """The thread of a stage and the queue between it and its reader."""

    def __init__(self, items: Generator[Item, None, None], limit: int) -> None:
        self._items = items
        self._room = threading.Semaphore(limit)
        self._queue: SimpleQueue[tuple[Item] | None] = SimpleQueue()  # None ends it
        self._stopped = False
        self._error: BaseException | None = None
        name = getattr(items, "__qualname__", "stage")
        # A daemon: an abandoned stage must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to run ahead."""
        self._thread.start()

    def take(self) -> Iterator[Item]:
        """Yield the items as they come; raise the error that ended the stage, if any."""
        while (held := self._queue.get()) is not None:
            self._room.release()
            yield held[0]
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback refers to this frame

    def stop(self) -> None:
        """Close the stage and wait until its thread has ended."""
        self._stopped = True
        self._room.release()
        started = self._thread.ident is not None
        if started and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        with self, closing(self._items) as items:
            while self._has_room():
                self._queue.put((next(items),))

    def _has_room(self) -> bool:
        """Wait until another item may be made; return whether anybody still wants it."""
        self._room.acquire()
        return not self._stopped

    def __enter__(self) -> None:
        """Begin the work of the thread."""

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> bool:
        """Hand the end of the work over to the reader, with its error."""
        if not isinstance(error, StopIteration):  # which is how `next` ends the loop
            self._error = error
        self._queue.put(None)
        return True
