"""Faces beside others: any division into pieces gives the same scores, and little is held."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.contract import Cascade, ClipNetwork, ContextNetwork, Logits, Network
from model.families.base import ScorerInputs, family_of
from model.scoring.clip_scoring import ClipEncoder, ClipScorer, clip_offsets
from model.scoring.context_scoring import ContextScorer
from model.scoring.scorers import Scorer
from model.scoring.speaker_scoring import SpeakerScorer
from utils.structures import ClipSpec, ContextSpec, CropPiece, InputSpec

DELAY = 30
TRACKS = {0: (0, 520), 1: (40, 300), 2: (310, 330), 3: (400, 520)}  # frames of each face


class TinyClips(ClipNetwork):
    """Describes a clip by its frames' levels and its sound."""

    inputs = InputSpec("tiny_feature", 3, size=8)
    clip = ClipSpec(5, 2)
    num_embedding = 4

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Linear(5 + 2, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, audio: Tensor, faces: Tensor) -> Logits:
        looks = torch.cat([faces.float().mean((2, 3)) / 255, audio], dim=1)
        found = torch.tanh(self.look(looks))
        return Logits(self.head(found)[:, None], embedding=found[:, None])


class TinyContext(ContextNetwork):
    """Weighs every place of a context by itself."""

    encoder_name = "tiny"
    num_embedding = 4

    def __init__(self, fill: str = "repeat") -> None:
        super().__init__()
        self.context = ContextSpec(5, 2, 3, "zero" if fill == "zero" else "repeat", 4)
        self.head = nn.Linear(3 * 5 * 4, 2)

    def forward(self, embeddings: Tensor) -> Logits:
        return Logits(self.head(embeddings.flatten(1))[:, None])


class TinySpeakers(Network):
    """Compares three faces by a sum that differs from place to place."""

    family = "speakers"
    inputs = InputSpec("mfcc", 13, size=8)
    windows = (2,)
    radius = 1
    num_speakers = 3

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv1d(64, 6, 3, padding=1)
        self.join = nn.Conv1d(3 * 6 + 13, 2, 5, padding=2)

    def encode_audio(self, audio: Tensor) -> Tensor:
        return audio.view(len(audio), -1, 4, 13).mean(2) / 20

    def encode_faces(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        looks: Tensor = self.look(faces.float().flatten(2).transpose(1, 2) / 255)
        return looks.transpose(1, 2)[:, start:stop]

    def fuse(self, audio: Tensor, faces: Tensor) -> Logits:
        whole = torch.cat([*faces.unbind(1), audio], dim=2).transpose(1, 2)
        said = self.join(torch.tanh(whole)).transpose(1, 2)
        return Logits(said[:, None].expand(-1, 3, -1, -1))


@pytest.fixture(autouse=True)
def tiny_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two numbers for each clip: the sound's level at its first and its last frame."""
    module = ModuleType("utils.features.tiny_feature")

    def tiny_feature(
        waveform: NDArray[np.int16], times: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        levels = waveform[np.rint(times * 16000).astype(int)] / 32768
        return np.asarray(levels[rows[:, [0, -1]]], np.float32)

    module.tiny_feature = tiny_feature  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "utils.features.tiny_feature", module)


SOUND = np.random.default_rng(5).integers(-9999, 9999, 600 * 640).astype(np.int16)


def hear(start: int, stop: int) -> NDArray[np.int16]:
    """Return the sound, zeros outside it."""
    samples = np.zeros(stop - start, np.int16)
    low, high = min(max(start, 0), len(SOUND)), min(stop, len(SOUND))
    samples[max(low - start, 0) : max(high - start, 0)] = SOUND[low:high]
    return samples


def pieces(length: int) -> Iterator[CropPiece]:
    """Give the pieces of all tracks in the order in which they become known."""
    found = []
    for track, (start, stop) in TRACKS.items():
        rng = np.random.default_rng(track)
        crops = rng.integers(0, 256, (stop - start, 8, 8), np.uint8)
        boxes = np.tile(np.array([0, 0, 20 + track, 30], np.float32), (stop - start, 1))
        for first in range(start, stop, length):
            last = first + length >= stop
            part = slice(first - start, min(first + length, stop) - start)
            due = stop + DELAY if last else first + length + 7
            piece = CropPiece(
                track, 0, first, start, boxes[part], crops[part], crops[0], last, kept=True
            )
            found.append((due, track, piece))
    return (piece for _, _, piece in sorted(found, key=lambda one: one[:2]))


def logits(scorer: Scorer, length: int) -> dict[int, NDArray[np.float32]]:
    """Run a scorer over all pieces; return the logits of each track."""
    found: dict[int, list[NDArray[np.float32]]] = {track: [] for track in TRACKS}
    for piece in pieces(length):
        for scored in scorer.add(piece):
            found[scored.track].append(scored.logits)
    for scored in scorer.finish():
        found[scored.track].append(scored.logits)
    return {track: np.concatenate(parts) for track, parts in found.items()}


def made(kind: type[nn.Module], *arguments: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return kind(*arguments)


def make_scorer(network: Any, delay: int = DELAY, windows: tuple[int, ...] | None = None) -> Scorer:
    return family_of(network).make_scorer(network, ScorerInputs(hear, delay, windows))


def scorer_of(kind: str, delay: int = DELAY) -> Scorer:
    encoder, speakers = made(TinyClips), made(TinySpeakers)
    if kind == "clips":
        return make_scorer(encoder, delay)
    if kind == "speakers":
        return make_scorer(speakers, delay)
    context = made(TinyContext, kind)
    return make_scorer(Cascade(encoder, context), delay)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["clips", "repeat", "zero", "speakers"])
@pytest.mark.parametrize("length", [13, 100])
def test_pieces_of_any_length_score_as_the_whole(kind: str, length: int) -> None:
    whole = logits(scorer_of(kind, 10_000), 10_000)
    scorer = scorer_of(kind)
    scorer.form = type(scorer.form)(scorer.form.size, False, length)
    parts = logits(scorer, length)
    for track, (start, stop) in TRACKS.items():
        assert whole[track].shape == (stop - start, 2)
        np.testing.assert_allclose(parts[track], whole[track], atol=1e-5)
    assert np.abs(np.diff(whole[0], axis=0)).max() > 1e-3


def test_context_by_hand() -> None:
    """Frame 100 of face 0 stands beside face 1, then beside face 1 once more."""
    encoder, context = made(TinyClips), made(TinyContext, "repeat")
    assert isinstance(encoder, TinyClips) and isinstance(context, TinyContext)
    encoded = {p.track: ClipEncoder(encoder, hear).encode(p) for p in pieces(10_000)}
    at = 100 + 4 * np.arange(-2, 3)
    faces = [encoded[0].embeddings[at], *[encoded[1].embeddings[at - 40]] * 2]
    with torch.inference_mode():
        expected = context(torch.from_numpy(np.stack(faces)[None])).av[0, 0].numpy()
    found = logits(scorer_of("repeat"), 100)[0][100]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_face_alone_is_scored_in_one_window_as_by_the_network() -> None:
    """Where one window covers all that is asked, the scores are the network's own."""
    network = made(TinySpeakers)
    assert isinstance(network, TinySpeakers)
    (piece,) = (one for one in pieces(10_000) if one.track == 2)
    scorer = SpeakerScorer(network, hear, DELAY)
    found = np.concatenate([one.logits for one in (*scorer.add(piece), *scorer.finish())])
    features = scorer._features(piece)
    faces = torch.from_numpy(piece.crops)[None, None].expand(-1, 3, -1, -1, -1)
    with torch.inference_mode():
        expected = network(torch.from_numpy(features)[None], faces).av[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["repeat", "speakers"])
def test_little_is_held(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a shot, only a few seconds of each face are held."""
    monkeypatch.setattr(
        sys.modules[__name__], "TRACKS", {0: (0, 6000), 1: (0, 500), 2: (700, 5900)}
    )
    scorer = scorer_of(kind)
    assert isinstance(scorer, ContextScorer | SpeakerScorer)
    held = 0
    for piece in pieces(100):
        for _ in scorer.add(piece):
            pass
        held = max(held, sum(face.stop - face.start for face in scorer._faces.values()))
    assert held < 3 * (2 * 100 + DELAY + 60)


def test_clip_frames_at_another_rate() -> None:
    assert clip_offsets(ClipSpec(5, 4, fps=10)).tolist() == [-10, -8, -5, -2, 0]
    assert clip_offsets(ClipSpec(4, 2)).tolist() == [-2, -1, 0, 1]


def test_what_cannot_be_scored() -> None:
    clips = made(TinyClips)
    with pytest.raises(ValueError, match="--windows is of networks that read sequences"):
        make_scorer(clips, DELAY, (1, 2))
    with pytest.raises(ValueError, match="scores nothing by itself"):
        make_scorer(made(TinyContext, "zero"))
    with pytest.raises(ValueError, match=r"windows of one length, got \(1, 2\)"):
        make_scorer(made(TinySpeakers), DELAY, (1, 2))
    assert isinstance(make_scorer(clips), ClipScorer)
