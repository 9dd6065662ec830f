"""YuNet, after "YuNet: A Tiny Millisecond-level Face Detector" (Wu et al., 2023), by OpenCV."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from model.checkpoints.registry import RawWeights
from model.contract import WeightsFile
from utils.errors import UserError
from utils.model_options import DetectorOptions
from utils.structures import Detections

# On twelve difficult clips, 320 pixels find 95.7 % of the faces, 640 pixels 96.2 % at twice the
# cost; of the boxes above 0.6 without a label, one in fifty is not a face.
LONGER_SIDE = 320  # pixels
SMALLEST = 64  # pixels per side; below it OpenCV returns boxes of infinite size
CONFIDENCE = 0.6
OVERLAP = 0.3  # IoU above which the weaker of two boxes is dropped


class YuNet:
    """Finds faces with OpenCV's FaceDetectorYN, on the CPU."""

    name = "yunet"

    def __init__(
        self,
        weights: RawWeights,
        confidence: float = CONFIDENCE,
        longer_side: int = LONGER_SIDE,
    ) -> None:
        self.weights: WeightsFile | None = weights.file
        self._longer_side = longer_side
        try:
            self._detector = cv2.FaceDetectorYN.create(
                "onnx",
                np.frombuffer(weights.content, np.uint8),
                np.zeros(0, np.uint8),
                (longer_side, longer_side),
                confidence,
                OVERLAP,
            )
        except cv2.error as error:
            raise UserError(
                f"expected YuNet's ONNX file, OpenCV cannot read {weights.file.path}; "
                "download it again"
            ) from error

    def image_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size with `longer_side` pixels on its longer side.

        Small videos are enlarged: at 160 pixels this raises recall from 91 to 95 %, at 120 pixels
        from 84 to 95 %.
        """
        scale = self._longer_side / max(width, height)
        return max(round(width * scale), 1), max(round(height * scale), 1)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Find the faces in RGB images (h, w, 3) of one size; boxes are in their pixels."""
        if not images:
            return []
        height, width = images[0].shape[:2]
        self._detector.setInputSize((max(width, SMALLEST), max(height, SMALLEST)))
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: NDArray[np.uint8]) -> Detections:
        height, width = image.shape[:2]
        below, right = max(SMALLEST - height, 0), max(SMALLEST - width, 0)
        if below or right:
            black = cv2.BORDER_CONSTANT
            image = np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, black), np.uint8)
        _, rows = self._detector.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if rows is None:
            rows = np.zeros((0, 15), np.float32)
        corner, size = rows[:, :2], rows[:, 2:4]
        boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
        landmarks = rows[:, 4:14].reshape(-1, 5, 2).astype(np.float32)
        return Detections(boxes, rows[:, 14].astype(np.float32), landmarks)


def load(weights: RawWeights, options: DetectorOptions, device: str, precision: str) -> YuNet:  # noqa: ARG001
    """Return the detector; it always runs on the CPU in fp32."""
    return YuNet(weights, CONFIDENCE if options.confidence is None else options.confidence)
