"""Compare the faces of a shot, to tell whose voice is heard."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from model.contract import Network
from model.scoring.scorers import Scored, Scorer
from utils.structures import CropPiece

AT_ONCE = 4096  # frames that are compared at once, bounds the memory


class ComparingScorer:
    """Wraps a scorer of a network that compares faces; yields all logits at the end of the shot.

    Until then, 12 bytes per face and frame are held.
    """

    def __init__(self, network: Network, scorer: Scorer) -> None:
        self.form = scorer.form
        self._network, self._scorer = network, scorer
        self._starts: dict[int, int] = {}
        self._rows: dict[int, list[NDArray[np.float32]]] = {}

    def add(self, piece: CropPiece) -> Iterator[Scored]:
        """Score the piece by itself; yield nothing."""
        self._starts.setdefault(piece.track, piece.start)
        for scored in self._scorer.add(piece):
            self._rows.setdefault(scored.track, []).append(scored.logits)
        yield from ()

    def finish(self) -> Iterator[Scored]:
        """Yield the logits of all faces, compared with each other."""
        for scored in self._scorer.finish():
            self._rows.setdefault(scored.track, []).append(scored.logits)
        rows = {track: np.concatenate(parts) for track, parts in self._rows.items()}
        compared = compare_tracks(self._network, rows, self._starts)
        self._starts, self._rows = {}, {}
        yield from (Scored(track, logits) for track, logits in compared.items())


@torch.inference_mode()
def compare_tracks(
    network: Network, rows: Mapping[int, NDArray[np.float32]], starts: Mapping[int, int]
) -> dict[int, NDArray[np.float32]]:
    """Return the logits (T, 2) of the faces of a shot, compared with each other.

    Args:
        network: Compares them.
        rows: From `track_outputs` (T, 3), by track.
        starts: Video frame of each track's first row.
    """
    if not rows:
        return {}
    found = {track: np.empty((len(own), 2), np.float32) for track, own in rows.items()}
    first = min(starts[track] for track in rows)
    last = max(starts[track] + len(own) for track, own in rows.items())
    for start in range(first, last, AT_ONCE):
        stop = min(start + AT_ONCE, last)
        spans = {
            track: (max(start, starts[track]), min(stop, starts[track] + len(own)))
            for track, own in rows.items()
        }
        seen = {track: span for track, span in spans.items() if span[0] < span[1]}
        joint = np.zeros((len(seen), stop - start, 4), np.float32)  # logits, match, visible
        for own, (track, (begin, end)) in zip(joint, seen.items(), strict=True):
            own[begin - start : end - start, :3] = rows[track][
                begin - starts[track] : end - starts[track]
            ]
            own[begin - start : end - start, 3] = 1
        whole = torch.from_numpy(joint)  # so little that the CPU does it
        logits = network.compete(whole[..., :2], whole[..., 2], whole[..., 3])
        for own, (track, (begin, end)) in zip(logits.numpy(), seen.items(), strict=True):
            found[track][begin - starts[track] : end - starts[track]] = own[
                begin - start : end - start
            ]
    return found
