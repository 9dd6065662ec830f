"""Find the faces of people in videos, for training and for measuring on pairings."""

import logging
import os
from pathlib import Path

from model.face_finding import choose_finder
from model.training.prepare_data import find_videos
from utils.datasets.storage.entity_store import EntityStore
from utils.datasets.talkset.faces import FaceFinding, find_all
from utils.datasets.talkset.sources import SourceFace, VideoPerson, name_people
from utils.model_options import DetectorOptions
from utils.progress import bar

logger = logging.getLogger(__name__)


def find_people(
    videos: str, table: Path | None, faces_only: str, folder: Path
) -> tuple[EntityStore, list[SourceFace]]:
    """Return the faces of all videos; those found before are not searched for again.

    Args:
        videos: Folders, with commas between.
        table: CSV of files, identities and kinds; None takes the names of folders and files.
        faces_only: Folders of videos whose audio means nothing, with commas between.
        folder: Where the faces are kept.
    """
    silent = [Path(name) for name in faces_only.split(",") if name]
    unheard = find_videos(silent) if silent else []
    talking = find_videos([Path(name) for name in videos.split(",")])
    talking = [path for path in talking if path not in unheard]
    people = name_people(talking, table)
    people |= {path: VideoPerson(f"face {path.stem}", talks=False) for path in unheard}
    root = os.path.commonpath([path.parent for path in people])
    by_key = {path.relative_to(root).as_posix(): path for path in people}
    finder = choose_finder(DetectorOptions(detector="yunet"), "cpu")
    with bar("finding faces", len(by_key), "videos") as advance:
        finding = FaceFinding(finder, finder.settings)
        faces = find_all(by_key, people, folder, finding, lambda _, done, __: advance(done))
    for key, problem in faces.broken.items():
        logger.warning("%s: %s", key, problem)
    return EntityStore(folder), faces.sources
