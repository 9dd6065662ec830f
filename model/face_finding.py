"""Find the faces of a video for a data set, exactly as the demo finds them."""

from collections.abc import Callable, Iterator

from model.contract import FaceDetector
from model.detection import detect_faces
from utils.crops import CropOptions, crop_faces
from utils.media import ReadOptions, VideoInfo
from utils.shots import ShotOptions, mark_shots
from utils.structures import CropPiece, Shot
from utils.tracks import TrackOptions
from utils.video import read_frames


def face_finder(
    detector: FaceDetector, every: int
) -> Callable[[VideoInfo], Iterator[CropPiece | Shot]]:
    """Return what gives the crops of a video, and each shot after the last of its crops.

    Args:
        detector: Finds the faces.
        every: Look for them in each so many frames.
    """

    def find(video: VideoInfo) -> Iterator[CropPiece | Shot]:
        wanted = detector.picture_size(video.width, video.height)
        frames = mark_shots(read_frames(video, wanted, ReadOptions()), ShotOptions())
        found = detect_faces(frames, detector, every)
        return crop_faces(found, TrackOptions(), CropOptions(), every)

    return find
