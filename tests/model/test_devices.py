"""Networks, detectors, scorers and training leave no tensor on another device than the network's.

No GPU is needed: see tests/one_device.py.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.checkpoints.build import build_network
from model.contract import Cascade, Model
from model.detectors.s3fd import S3fd, S3fdNetwork
from model.detectors.tiny_fcos import TinyFcosNetwork
from model.devices import compute_exactly, send
from model.embedders.bundled import Bundled, BundledNetwork
from model.embedders.face_reid import FaceReid, FaceReidNetwork
from model.families.base import BatchShapes, ScorerInputs, family_of
from model.localizers.tragic_crnn import TragicCRNN
from model.names import network_names
from model.scoring.prepared import Precision
from model.training.losses import Clips, Contrast, Counts, SpeakingObjective
from tests.one_device import OneDevice, pretended_gpu
from utils.structures import CropPiece

GPU = torch.device("meta")
FACES = np.zeros((2, 128, 128, 3), np.uint8)


@pytest.mark.parametrize(
    "mix",
    [
        lambda gpu, cpu: gpu + cpu,
        lambda gpu, cpu: gpu @ cpu,
        functional.linear,
        lambda gpu, cpu: functional.conv2d(gpu[None, None], cpu[None, None]),
        lambda gpu, cpu: torch.cat((gpu, cpu)),
        lambda gpu, cpu: gpu.gather(0, cpu.long()),
    ],
    ids=["add", "matmul", "linear", "conv2d", "cat", "gather"],
)
def test_mixing_devices_is_found(mix: Callable[[Tensor, Tensor], Tensor]) -> None:
    with OneDevice(), pytest.raises(RuntimeError, match="mixes tensors of cpu and meta"):
        mix(torch.empty(3, 3, device=GPU), torch.zeros(3, 3))


def test_reading_values_without_a_copy_is_found() -> None:
    with pretended_gpu():
        assert torch.ones(2, device=GPU).cpu().numpy().tolist() == [0, 0]
        with pytest.raises(TypeError, match="meta"):
            torch.ones(2, device=GPU).numpy()
        with pytest.raises(RuntimeError, match="meta"):
            torch.ones(2, device=GPU).sum().item()


def on_gpu(name: str) -> Model:
    with torch.device(GPU):
        return build_network(name)


def batch(shapes: BatchShapes) -> Clips:
    labels = torch.ones(shapes.labels, dtype=torch.long, device=GPU)
    audio, faces = (torch.empty(shape, device=GPU) for shape in (shapes.audio, shapes.faces))
    return Clips(audio, faces, labels, labels)


@pytest.mark.parametrize("name", network_names())
def test_a_training_step(name: str) -> None:
    network = on_gpu(name).train()
    family = family_of(network)
    with OneDevice():
        objective = SpeakingObjective(network, network.recipe, Contrast())
        loss, correct = objective(batch(family.batch_shapes(network, 2, 30)), Counts(9, 9), 1.0)
        loss.backward()
        torch.optim.AdamW(objective.parameters()).step()
    assert (loss.device, correct.device) == (GPU, GPU)
    gradients = [one.grad for one in network.parameters() if one.grad is not None]
    assert gradients and all(gradient.device == GPU for gradient in gradients)


def test_the_contrastive_loss() -> None:
    network = on_gpu("talknet").train()
    with torch.device(GPU):
        objective = SpeakingObjective(network, network.recipe, Contrast(0.3))
    with OneDevice():
        shapes = family_of(network).batch_shapes(network, 2, 30)
        loss, _ = objective(batch(shapes), Counts(9, 9), 1.0)
        loss.backward()
    assert loss.device == GPU


def pieces(size: int, colour: bool) -> Iterator[CropPiece]:
    """Two faces of 30 frames at the same time."""
    shape = (30, size, size, *((3,) if colour else ()))
    boxes = np.tile(np.array([10, 10, 50, 50], np.float32), (30, 1))
    for track in range(2):
        crops = np.zeros(shape, np.uint8)
        yield CropPiece(
            track=track,
            shot=0,
            start=0,
            track_start=0,
            boxes=boxes,
            crops=crops,
            thumbnail=crops[0],
            last=True,
        )


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "fp32") for name in network_names()), ("talknet", "bf16"), ("loconet", "bf16")],
)
def test_scoring(name: str, precision: Precision) -> None:
    first = on_gpu(name).eval()
    network = Cascade.of(first, on_gpu(first.encoder_name).eval()) if first.encoder_name else first
    inputs = ScorerInputs(
        lambda start, stop: np.zeros(stop - start, np.int16),
        delay=10,
        precision=precision,
        whole=lambda: [np.zeros(16000, np.int16)],
    )
    with pretended_gpu():
        scorer = family_of(network).make_scorer(network, inputs)
        found = [
            scored
            for piece in pieces(scorer.form.size, scorer.form.colour)
            for scored in scorer.add(piece)
        ]
        found += scorer.finish()
    lengths = {0: 0, 1: 0}
    for scored in found:
        lengths[scored.track] += len(scored.logits)
    assert lengths == {0: 30, 1: 30}


@pytest.mark.parametrize("published", [True, False])
def test_s3fd(published: bool) -> None:
    with torch.device(GPU):
        detector = S3fd(S3fdNetwork(published), scale=0.5, confidence=0.6)
    images = [np.zeros((90, 120, 3), np.uint8)] * 3
    with pretended_gpu():
        found = detector.detect(images)
    assert [len(one) for one in found] == [0, 0, 0]  # zeros are confidences of 0.5


def test_tiny_fcos_network() -> None:
    with torch.device(GPU):
        network = TinyFcosNetwork()
    with OneDevice():
        logits, distances = network(torch.empty(2, 3, 64, 96, device=GPU))
    assert (logits.device, distances.device) == (GPU, GPU)


def test_embedders() -> None:
    with torch.device(GPU):
        networks = FaceReidNetwork(), BundledNetwork()
    with pretended_gpu():
        assert FaceReid(networks[0], device="meta").embed(FACES).shape == (2, 256)
        assert Bundled(networks[1], device="meta").embed(FACES).shape == (2, 256)


def test_localizer() -> None:
    with torch.device(GPU):
        network = TragicCRNN().eval()
    with OneDevice():
        features = torch.empty(1, network.num_microphones, 16 * 8, 64, device=GPU)
        located = network(features, torch.zeros(1, dtype=torch.long, device=GPU))
    assert located.device == GPU


def test_send_shares_memory_on_the_cpu() -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    sent = send(array, torch.device("cpu"))
    array[0, 0] = 9
    assert sent.tolist() == [[9, 1, 2], [3, 4, 5]]
    assert send(array, GPU).device == GPU


def test_exact_computing_is_set_for_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    compute_exactly("cpu")
    assert torch.backends.cudnn.allow_tf32
    compute_exactly("cuda")
    assert not torch.backends.cudnn.allow_tf32
