"""What every network promises: its radius, parts of a sequence, several clips, training."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.contract import Network
from model.networks.light_asd import LightASD
from model.networks.lr_asd import LRASD
from model.networks.talknet import TalkNet
from tests.parity.fill import inputs
from tests.parity.filled import filled

NETWORKS = [TalkNet, LightASD, LRASD]


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda network: network.__name__)
def network(request: pytest.FixtureRequest) -> Network:
    made: Network = filled(request.param())
    return made


def clips(num_clips: int, num_frames: int) -> Tensor:
    return torch.from_numpy(inputs("faces", (num_clips, num_frames, 112, 112), 0, 255))


def test_radius(network: Network) -> None:
    """One changed frame changes the embeddings of `radius` frames to either side, no more."""
    middle, radius = network.radius + 2, network.radius
    before = clips(1, 2 * middle + 1)
    after = before.clone()
    after[0, middle] = 255 - after[0, middle]
    with torch.inference_mode():
        difference = (network.encode_faces(after) - network.encode_faces(before)).abs().amax(2)[0]
    changed = torch.nonzero(difference > 1e-6).flatten().tolist()
    assert changed == list(range(middle - radius, middle + radius + 1))


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (10, 11), (1, 28), (25, 30)])
def test_part_of_a_sequence(network: Network, start: int, stop: int) -> None:
    faces = clips(2, 30)
    with torch.inference_mode():
        whole = network.encode_faces(faces)
        torch.testing.assert_close(
            network.encode_faces(faces, start, stop), whole[:, start:stop], atol=1e-3, rtol=1e-4
        )


@pytest.mark.parametrize("num_frames", [1, 3])
def test_short_clips_and_batches(network: Network, num_frames: int) -> None:
    faces = clips(3, num_frames)
    audio = torch.from_numpy(inputs("audio", (3, 4 * num_frames, 13), -10, 20))
    with torch.inference_mode():
        together = network(audio, faces).av
        alone = torch.cat(
            [network(audio[i : i + 1], faces[i : i + 1]).av for i in range(len(faces))]
        )
    assert together.shape == (3, num_frames, 2)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_bytes_are_read_like_numbers(network: Network) -> None:
    faces = clips(1, 3).to(torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(network.encode_faces(faces), network.encode_faces(faces.float()))


@pytest.mark.parametrize("make", NETWORKS, ids=lambda network: network.__name__)
def test_trains(make: type[Network]) -> None:
    """Every parameter gets a gradient, statistics run, and a step lowers the loss."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make().train()
    faces, labels = clips(2, 5), torch.tensor([0, 1, 1, 0, 1, 1, 0, 0, 1, 0])
    audio = torch.from_numpy(inputs("audio", (2, 20, 13), -10, 20))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(4):
        logits = network(audio, faces)
        loss = torch.zeros(())
        for head, weight in network.recipe.loss_weights.items():
            loss = loss + weight * functional.cross_entropy(
                getattr(logits, head).flatten(0, 1), labels
            )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        missing = [
            name
            for name, parameter in network.named_parameters()
            if parameter.grad is None or not parameter.grad.any()
        ]
        assert missing == []
        optimiser.step()
    assert losses[-1] < losses[0]
    counters = [value for name, value in network.named_buffers() if name.endswith("tracked")]
    assert {int(counter) for counter in counters} == {4}
