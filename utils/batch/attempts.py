"""Which job comes next, and which outcome is final."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from utils.batch.work import Outcome, VideoJob

MOST_LOSSES = 5  # of the machine under a video; then the video is suspected


class Attempts:
    """Hands out jobs: new ones first, then those that failed, each so many times."""

    def __init__(self, jobs: Iterator[VideoJob], tries: int) -> None:
        """Take jobs one by one as they are needed.

        Args:
            jobs: New ones.
            tries: After as many failures the outcome is final.
        """
        self._jobs, self._tries = jobs, tries
        self._again: deque[VideoJob] = deque()
        self._losses: dict[VideoJob, int] = {}

    def next(self) -> VideoJob | None:
        """Return the next job; None if none waits now, though one that runs may come back."""
        job = next(self._jobs, None)
        if job is None and self._again:
            job = self._again.popleft()
        return job

    def settle(self, job: VideoJob, outcome: Outcome) -> bool:
        """Tell whether an outcome is final; else the job is handed out again."""
        if not outcome.error:
            return True
        if outcome.lost:
            self._losses[job] = self._losses.get(job, 0) + 1
            if self._losses[job] < MOST_LOSSES:
                self._again.append(job)
                return False
            return True
        if job.attempt < self._tries:
            self._again.append(replace(job, attempt=job.attempt + 1))
            return False
        return True

    def put_back(self, job: VideoJob) -> None:
        """Hand out a job again that was not tried."""
        self._again.append(job)

    def waits(self) -> bool:
        """Tell whether a job waits."""
        if not self._again and (job := next(self._jobs, None)) is not None:
            self._again.append(job)
        return bool(self._again)
