"""One piece of work at a time beside the steps."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["Background"]


class Background:
    """A thread that does one thing after another; whoever gives it the next waits for the one before, and meets its error."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._running: Future[object] | None = None

    def start(self, work: Callable[[], object]) -> None:
        """Begin, behind what was begun before.

        Raises:
            Exception: what the work before raised.
        """
        self.wait()
        self._running = self._thread.submit(work)

    def wait(self) -> None:
        """Wait until nothing is being done.

        Raises:
            Exception: what the work raised, once.
        """
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def close(self) -> None:
        """Wait, and end the thread.

        Raises:
            Exception: what the work raised.
        """
        try:
            self.wait()
        finally:
            self._thread.shutdown()
