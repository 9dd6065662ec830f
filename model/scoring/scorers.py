"""From pieces of face tracks to logits: the interface of every kind of network's scorer."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.contract import Network
from model.precision import is_fast_in_bf16
from model.scoring.prepared import Precision, inference_copy
from model.scoring.windows import Voices, prepared_outputs
from utils.features import feature_function
from utils.structures import FPS, SAMPLES_PER_FRAME, STEPS_PER_FRAME, CropForm, CropPiece

logger = logging.getLogger(__name__)

AGREEMENT = 0.1  # largest difference of logits with which bf16 is chosen

# Gives samples [start, stop) of the audio, 640 per video frame; zeros where there is none.
Hear = Callable[[int, int], NDArray[np.int16]]

# Gives the whole audio of the video in pieces (N,), from the start at each call.
WholeSound = Callable[[], Iterable[NDArray[np.int16]]]


@dataclass(frozen=True, eq=False)
class Scored:
    """Logits of consecutive frames of one track; each frame comes once, in order."""

    track: int
    logits: NDArray[np.float32]  # (T, 2)


class Scorer(Protocol):
    """Scores the tracks of one shot after the other.

    Its memory is bounded, however long the shot: it yields a frame's logits as soon as everything
    that they depend on has come.
    """

    form: CropForm

    def add(self, piece: CropPiece) -> Iterator[Scored]:
        """Take the next piece, of any track; yield the logits that have become known."""
        ...

    def finish(self) -> Iterator[Scored]:
        """Yield all logits that are still due: the shot has ended."""
        ...


class Held(Protocol):
    """What a scorer that compares faces holds of one face."""

    start: int  # the first frame that is held
    due: int  # the frame that is scored next
    ended: bool

    @property
    def stop(self) -> int:
        """Video frame after the last one that has come."""
        ...

    def forget(self, before: int) -> None:
        """Drop the frames before a video frame."""
        ...


AnyHeld = TypeVar("AnyHeld", bound=Held)


def still_needed(faces: Mapping[int, AnyHeld], whole: int, reach: int) -> dict[int, AnyHeld]:
    """Return the faces that future scores may read, each without the frames that none reads.

    Args:
        faces: By their tracks.
        whole: Of all faces, all frames before this one have come.
        reach: How many frames before a scored one are read.
    """
    due = (face.due for face in faces.values() if not face.ended or face.due < face.stop)
    first = min([whole, *due]) - reach
    for face in faces.values():
        face.forget(first)
    return {
        track: face for track, face in faces.items() if face.start < face.stop or not face.ended
    }


@dataclass(frozen=True, eq=False)
class _Heard:
    """The audio of a piece, for the next one if that is of the same time."""

    span: tuple[int, int]  # video frames [start, stop) that were read
    first_row: int  # of them, that is used
    features: NDArray[np.float32]
    voices: Voices = field(default_factory=dict)


class SequenceScorer:
    """Scores each piece by itself, with a network that reads the sequence of one face.

    Pieces are a multiple of all window lengths, so the scores are those of the whole track. Faces
    of a shot mostly come and go together: the audio of a time is encoded once for all of them.
    """

    def __init__(
        self,
        network: Network,
        hear: Hear,
        windows: Sequence[int] | None = None,
        precision: Precision | Literal["auto"] = "fp32",
    ) -> None:
        """Take the network; `auto` tries bf16 on the first piece if the processor has it."""
        inputs = network.inputs
        self.form = CropForm(inputs.size, inputs.colour, tight=inputs.tight)
        self._source, self._hear, self._windows = network, hear, windows
        self._network = inference_copy(network, "fp32" if precision == "auto" else precision)
        self._try_bf16 = precision == "auto" and is_fast_in_bf16(network)
        self._compute = feature_function(network.inputs.feature)
        self._heard: _Heard | None = None  # of the latest piece

    def add(self, piece: CropPiece) -> Iterator[Scored]:
        """Yield the logits of the piece, with a third column, the match, if faces are compared.

        Kept: the audio of a whole track gives one row of features less than four per frame, so
        its last frame has no score of its own; a piece that is not the last has all its rows.
        """
        num_frames = len(piece.crops)
        lead = 0 if piece.start == piece.track_start else 1  # frames, for the rows' first samples
        tail = 0 if piece.last else 1
        span = (piece.start - lead, piece.start + num_frames + tail)
        row = STEPS_PER_FRAME * lead
        if self._heard is None or self._heard.span != span or self._heard.first_row != row:
            waveform = self._hear(*(SAMPLES_PER_FRAME * frame for frame in span))
            rows = self._compute(waveform, FPS, row, row + STEPS_PER_FRAME * num_frames)
            self._heard = _Heard(span, row, rows)
        track = piece.crops, self._heard.features, self._windows, self._heard.voices
        logits = prepared_outputs(self._network, *track)
        if self._try_bf16:
            self._try_bf16 = False
            fast = inference_copy(self._source, "bf16")
            changed = prepared_outputs(fast, *track)[:, :2]
            difference = float(np.abs(changed - logits[:, :2]).max())
            if difference <= AGREEMENT:
                self._network = fast
            chosen = "bf16" if difference <= AGREEMENT else "fp32"
            logger.info("precision: %s, bf16 changes scores by %.3f", chosen, difference)
        yield Scored(piece.track, logits)

    def finish(self) -> Iterator[Scored]:
        """Yield nothing: no piece depends on another."""
        return iter(())
