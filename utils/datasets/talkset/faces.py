"""Find the faces in all videos of a TalkSet, in several processes."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.datasets.storage.entity_store import EntityStoreWriter
from utils.datasets.storage.entity_writer import DiskFullError
from utils.datasets.storage.job_journal import JobJournal
from utils.datasets.storage.parallel import run_parallel
from utils.datasets.talkset.sources import FindFaces, SourceFace, VideoPerson, find_sources
from utils.errors import ResourceError, UserError
from utils.files import locked
from utils.media.container import probe

logger = logging.getLogger(__name__)

SETTINGS = {"version": 1}

Progress = Callable[[str, int, int], None]  # stage, items done, total


@dataclass(frozen=True)
class FaceFinding:
    """How faces are found."""

    find: FindFaces  # yields the crops of a video; picklable if there are several processes
    settings: Mapping[str, Any] = field(default_factory=dict)  # by flag; JSON values
    num_processes: int = 1  # 0: one per core


@dataclass
class FoundFaces:
    """Outcome of the videos, by their keys."""

    sources: list[SourceFace] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)  # reason
    without_face: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _FaceFindingJob:
    """One video."""

    key: str
    path: Path
    person: VideoPerson
    find: FindFaces
    folder: Path  # of the store of sources

    @property
    def begun(self) -> list[Any]:
        """Values on which the sources depend."""
        return [self.person.name, self.person.talks, str(self.path)]


def find_all(
    videos: Mapping[str, Path],
    people: Mapping[Path, VideoPerson],
    folder: Path,
    finding: FaceFinding,
    progress: Progress | None,
) -> FoundFaces:
    """Return the sources of all videos, found now or earlier, in the order of their keys.

    If several processes are started on one folder, the others wait for the first.

    Args:
        videos: Files by their name in the store and the lists.
        people: Person of each file.
        folder: Folder of the store of sources.
        finding: How faces are found.
        progress: Called with the number of videos done.
    """
    with locked(folder, "finding faces"):
        writer = EntityStoreWriter(folder)
        writer.remove_leftovers()
        advice = f"change it back, or build in another folder, or remove {folder.parent}"
        journal = JobJournal(folder / "videos.jsonl", {**SETTINGS, **finding.settings}, advice)
        jobs = [
            _FaceFindingJob(key, path, people[path], finding.find, folder)
            for key, path in sorted(videos.items())
        ]
        undone = [job for job in jobs if not _is_done(job, journal)]
        found = FoundFaces()
        for done, (job, outcome) in enumerate(
            run_parallel(_find, undone, finding.num_processes), start=len(jobs) - len(undone) + 1
        ):
            if isinstance(outcome, str):
                logger.info("%s: %s", job.key, outcome)
                found.broken[job.key] = outcome
            else:
                journal.add(job.key, {"begun": job.begun, "sources": outcome})
            if progress:
                progress("finding faces", done, len(jobs))
        writer.write_index()
    found.broken = dict(sorted(found.broken.items()))
    for job in jobs:
        if job.key not in found.broken:
            records = journal.done[job.key]["sources"]
            found.sources += [SourceFace.from_json(record) for record in records]
            found.without_face += [] if records else [job.key]
    return found


def _is_done(job: _FaceFindingJob, journal: JobJournal) -> bool:
    outcome = journal.done.get(job.key)
    return outcome is not None and outcome["begun"] == job.begun


def _find(job: _FaceFindingJob) -> list[dict[str, Any]] | str:
    """Return the sources of a video as JSON values, or the reason if it cannot be read."""
    try:
        video = probe(job.path)
        return find_sources(video, job.key, job.person, job.find, EntityStoreWriter(job.folder))
    except DiskFullError:
        raise
    except (UserError, ResourceError, FileNotFoundError) as error:
        return str(error)
