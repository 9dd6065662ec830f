"""A student learns what its teachers see in faces, and how they score them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.contract import Network
from model.networks.light_asd import LightASD
from model.networks.lr_asd import LRASD
from model.networks.synchrony import Synchrony
from model.scoring.prepared import inference_copy
from model.shipped.synchrony_lessons import LESSON_FRAMES, Lessons, encode_track
from model.shipped.synchrony_stages import take_over
from tests.made_people import make_people
from tests.parity.filled import filled


def teachers() -> list[Network]:
    return [inference_copy(filled(kind()), "fp32") for kind in (LRASD, LightASD)]


def test_lessons_are_learned(tmp_path: Path) -> None:
    """A student that begins as the first teacher is nearer than another, and comes nearer."""
    taught = teachers()
    lessons = Lessons(*make_people(tmp_path, LESSON_FRAMES + 2), taught)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, other = Synchrony(), Synchrony()
    take_over(network, taught[0])
    parts = [*network.visual_encoder.parameters(), *network.head_opinion.parameters()]
    optimiser = torch.optim.Adam(parts, 1e-4)
    losses = []
    for _ in range(2):
        loss = lessons.loss(network, np.random.default_rng(0), 1)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert all(one.grad is not None and one.grad.any() for one in network.head_opinion.parameters())
    with torch.no_grad():
        assert losses[0] < lessons.loss(other, np.random.default_rng(0), 1).item()
    assert losses[-1] < losses[0]


def test_scores_of_all_teachers_count(tmp_path: Path) -> None:
    people = make_people(tmp_path, LESSON_FRAMES + 2)
    taught = teachers()
    network = filled(Synchrony())
    with torch.no_grad():
        one, both = (
            Lessons(*people, some).loss(network, np.random.default_rng(0), 1).item()
            for some in (taught[:1], taught)
        )
    assert one != both


def test_short_faces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"at least {LESSON_FRAMES} frames, found none"):
        Lessons(*make_people(tmp_path, LESSON_FRAMES - 1), teachers())


@pytest.mark.parametrize("num_frames", [5, 100])
def test_a_track_is_encoded_in_parts(num_frames: int) -> None:
    network = filled(Synchrony())
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (num_frames, 112, 112), np.uint8)
    with torch.inference_mode():
        whole = network.encode_faces(torch.from_numpy(crops)[None])[0]
        torch.testing.assert_close(encode_track(network, crops), whole, atol=1e-3, rtol=1e-4)
