"""Enrol people: from images of faces to the embeddings that their names are found by."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from model.contract import FaceDetector, FaceEmbedder
from model.detection import choose_detector, detect_faces
from model.embedding import places_of
from model.loading import Models
from model.offscreen import add_offscreen
from utils.errors import UserError
from utils.media.video import VideoSpan
from utils.model_options import DetectorOptions
from utils.output.results import Result
from utils.people.names import (
    EnrolledPerson,
    KnownNames,
    find_images,
    name_by_number,
    read_names,
)
from utils.people.options import PeopleOptions
from utils.structures import Frame, TrackEmbeddings
from utils.tracking.face_choice import FaceChoice, FaceChooser

logger = logging.getLogger(__name__)


class Analysis(Protocol):
    """What is needed of `talkNet.ActiveSpeakers`."""

    span: VideoSpan
    embeddings: list[TrackEmbeddings]


def read_known(path: Path | None, models: Models, detector: DetectorOptions) -> KnownNames:
    """Return the names of --people: those of a folder of images, or of a table.

    Args:
        path: The folder or CSV file; None for no names.
        models: Their embedder, and their detector if they have one.
        detector: Which detector finds the faces in the images otherwise.

    Raises:
        UserError: The path is neither, or no people are formed that could be named.
    """
    if path is None:
        return KnownNames()
    if models.embedder is None:
        raise UserError(
            "--people names people, but none are formed without a face embedder; "
            "leave out --embedder none"
        )
    if path.is_file():
        return KnownNames(by_number=read_names(path))
    if not path.is_dir():
        raise UserError(f"expected a folder of images or a CSV file for --people, found no {path}")
    finder = models.detector or choose_detector(detector, models.device).detector
    return KnownNames(enrol(path, finder, models.embedder))


def complete(
    result: Result, speakers: Analysis, options: PeopleOptions, names: KnownNames
) -> Result:
    """Return the result with what its people need besides the analysis of the images.

    That is the names of a table, embeddings if they are to be kept, and speech off-screen.

    Args:
        result: Of the analysis.
        speakers: The analysis.
        options: What is asked for.
        names: From `read_known`.
    """
    people = name_by_number(result.people, names.by_number)
    kept = speakers.embeddings if options.save_embeddings else ()
    result = replace(
        result.with_people(people), embeddings={one.track: one.embeddings for one in kept}
    )
    return result if options.no_offscreen else add_offscreen(result, speakers.span)


def enrol(folder: Path, detector: FaceDetector, embedder: FaceEmbedder) -> list[EnrolledPerson]:
    """Return the people of a folder of images, NAME.jpg or NAME/*.jpg.

    The largest face of each image counts. Images without a face are left out with a warning.

    Raises:
        UserError: There is no image, or no face in any of them.
    """
    found = []
    for name, paths in find_images(folder).items():
        faces = [face for path in paths if (face := _largest_face(path, detector)) is not None]
        if faces:
            found.append(EnrolledPerson(name, embedder.embed(np.stack(faces))))
    if not found:
        raise UserError(f"expected a face in the images of {folder}, found none in any of them")
    return found


def _largest_face(path: Path, detector: FaceDetector) -> NDArray[np.uint8] | None:
    """Return the aligned crop (128, 128, 3) of the largest face of an image; None without one."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        logger.warning("%s: expected an image, found none; it is left out", path)
        return None
    height, width = image.shape[:2]
    rgb = np.asarray(image, np.uint8)
    picture = cv2.resize(rgb, detector.image_size(width, height), interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    frame = Frame(0, grey, np.asarray(picture, np.uint8), colour=rgb)
    (frame,) = detect_faces(iter((frame,)), detector, 1)
    if frame.faces is None or not len(frame.faces):
        logger.warning("%s: expected a face, found none; the image is left out", path)
        return None
    sides = frame.faces.boxes[:, 2:] - frame.faces.boxes[:, :2]
    chooser = FaceChooser(0, FaceChoice(places_of(detector.name)))
    chooser.add(frame, frame.faces.boxes[int(np.argmax(sides.prod(axis=1)))])
    crop: NDArray[np.uint8] = chooser.finish().crops[0]
    return crop
