"""Choose and load a network, a face detector and a face embedder."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from model.checkpoints.build import load_single, network_class, network_name, recognise
from model.checkpoints.files import Weights, read_weights
from model.checkpoints.registry import checkpoint, default_checkpoint, find_file, registered_name
from model.contract import Cascade, FaceDetector, FaceEmbedder, Model, WeightsFile
from model.detection import choose_detector
from model.devices import compute_exactly
from model.embedding import choose_embedder
from model.names import network_names
from model.precision import warn_of_slow_bf16
from utils.downloads import Progress
from utils.errors import ResourceError, UserError, WeightsUnavailableError
from utils.model_options import AUTO_NETWORKS, DetectorOptions, EmbedderOptions, ModelOptions
from utils.output.results import ModelRecord
from utils.people.names import KnownNames

logger = logging.getLogger(__name__)

NO_EMBEDDER = EmbedderOptions("none")


@dataclass(frozen=True)
class Models:
    """A network, a detector and an embedder, and their records in a result."""

    network: Model | Cascade
    network_record: ModelRecord
    detector: FaceDetector | None
    detector_record: ModelRecord
    device: str
    embedder: FaceEmbedder | None = None  # None if no people are formed
    embedder_record: ModelRecord | None = None
    names: KnownNames = KnownNames()  # for people


def load_models(
    model: ModelOptions,
    detector: DetectorOptions | None,
    progress: Progress | None = None,
    embedder: EmbedderOptions = NO_EMBEDDER,
) -> Models:
    """Load what is asked for; `auto` is the first that is available.

    Args:
        model: Which network.
        detector: Which face detector; None if boxes are given.
        progress: Told the bytes of a download.
        embedder: Which face embedder.

    Raises:
        WeightsUnavailableError: No weights are available; says what was tried and what to do.
    """
    device = choose_device(model.device)
    compute_exactly(device)
    if model.precision == "bf16":
        warn_of_slow_bf16(device)
    network, reason = choose_network(model, device, progress)
    network_record = record_of(network, reason)
    if detector is None:
        found = ModelRecord("none", reason="none, the boxes are given")
        models = Models(network, network_record, None, found, device)
    else:
        choice = choose_detector(detector, device, model.precision, progress)
        found = make_record(choice.detector.name, choice.detector.weights, choice.reason)
        models = Models(network, network_record, choice.detector, found, device)
    return _with_embedder(models, embedder, progress)


def _with_embedder(
    models: Models, options: EmbedderOptions, progress: Progress | None = None
) -> Models:
    """Return the models with the embedder that is asked for; `auto` may find none."""
    try:
        choice = choose_embedder(options, models.device, progress)
    except WeightsUnavailableError as error:
        if options.embedder != "auto":
            raise
        logger.warning("no people are formed: %s", error)
        return models
    if choice is None:
        return models
    record = make_record(choice.embedder.name, choice.embedder.weights, choice.reason)
    return replace(models, embedder=choice.embedder, embedder_record=record)


def with_embedder(models: Models, embedder: FaceEmbedder | str) -> Models:
    """Return the models with a face embedder, loaded or given by its name."""
    if isinstance(embedder, str):
        return _with_embedder(models, EmbedderOptions(embedder))
    record = make_record(embedder.name, embedder.weights)
    return replace(models, embedder=embedder, embedder_record=record)


def load_missing(
    network: Model | Cascade | str | None,
    detector: FaceDetector | str | None,
    boxes_given: bool,
    precision: Literal["fp32", "bf16", "auto"],
) -> Models:
    """Return a network and a detector; those that are not loaded are loaded, by name or as `auto`.

    The log states which were loaded and why. They run on the fastest device of this machine.

    Args:
        network: Loaded, or a name; None is `auto`.
        detector: Loaded, or a name; None is `auto`, or none if boxes are given.
        boxes_given: Whether face tracks replace detection.
        precision: Of a detector that is loaded.
    """
    device, reason = choose_device("auto"), ""
    compute_exactly(device)
    if network is None or isinstance(network, str):
        network, reason = choose_network(ModelOptions(network or "auto"), device)
        logger.info("network: %s", reason)
    network_record = record_of(network, reason)
    if boxes_given:
        found = ModelRecord("none", reason="the boxes were given")
        loaded = None if isinstance(detector, str) else detector
        return Models(network, network_record, loaded, found, device)
    reason = ""
    if detector is None or isinstance(detector, str):
        options = DetectorOptions(detector or "auto")
        choice = choose_detector(options, device, precision)
        detector, reason = choice.detector, choice.reason
        logger.info("detector: %s", reason)
    found = make_record(detector.name, detector.weights, reason)
    return Models(network, network_record, detector, found, device)


def choose_device(name: str) -> str:
    """Return the device of that name; `auto` is the fastest one of this machine."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next((device for device, usable in available.items() if usable), "cpu")
    if not available.get(name, True):
        raise ResourceError(f"--device {name}: there is none on this machine; use --device auto")
    return name


def choose_network(
    model: ModelOptions, device: str, progress: Progress | None = None
) -> tuple[Model | Cascade, str]:
    """Load the requested network; also return one line that says which it is and why.

    A network that is named explicitly is never replaced. `auto` continues with the next one only
    if weights are not available: a damaged file or a failing device is an error.
    """
    name: str = model.model
    weights: Path | Weights | None = model.pretrain_model
    if name == "auto" and model.pretrain_model is not None:
        name, weights = _recognise(model.pretrain_model)
    if name != "auto":
        network = load_network(name, weights, model.encoder_model, device, progress)
        return network, f"{_describe(network)}, as asked for"
    missing: list[str] = []
    for candidate in AUTO_NETWORKS:
        try:
            network = load_network(candidate, device=device, progress=progress)
        except WeightsUnavailableError as error:  # any other error is a fault
            logger.debug("%s", error)
            missing.append(default_checkpoint(candidate).file)
            continue
        why = ", the first choice"
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            why = (
                f", because {' and '.join(missing)} {verb} not available "
                f"(--model {AUTO_NETWORKS[0]} says why)"
            )
        return network, _describe(network) + why
    raise WeightsUnavailableError(
        f"no network is available: {', '.join(missing)} are neither here nor to be downloaded; "
        "put one of them into pretrain/ or set TALKNET_PRETRAIN to a folder that holds it"
    )


def _recognise(path: Path) -> tuple[str, Path | Weights]:
    """Return the network that weights belong to, and the weights, read if they had to be.

    Args:
        path: A file, or a name in pretrain/weights.toml.
    """
    registered = registered_name(path)
    if registered:
        return checkpoint(registered).network, Path(registered)
    weights = read_weights(find_file(path))
    name = recognise(weights.state)
    if name is None:
        raise UserError(
            f"{path}: expected weights of one of {', '.join(network_names())}, found others; "
            "name the network with --model to see how they differ"
        )
    return name, weights


def load_network(
    name: str,
    weights: str | Path | Weights | None = None,
    encoder_weights: str | Path | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Model | Cascade:
    """Return a network with weights, together with the clip network that it reads, if any.

    Args:
        name: A file in model/networks.
        weights: A file, a name in pretrain/weights.toml, or weights that have been read; None is
            the network's default in pretrain/weights.toml.
        encoder_weights: The same for the clip network that a context network reads.
        device: Where it runs.
        progress: Told the bytes of a download.
    """
    kind = network_class(name)
    if encoder_weights is not None and not kind.encoder_name:
        raise UserError(f"{name} builds on no other network; leave --encoderModel out")
    network = load_single(name, weights, device, progress)
    if not kind.encoder_name:
        return network
    try:
        encoder = load_single(kind.encoder_name, encoder_weights, device, progress)
    except WeightsUnavailableError as error:
        raise WeightsUnavailableError(
            f"{error}; or name the encoder's weights with --encoderModel"
        ) from error
    return Cascade.of(network, encoder)


def record_of(network: Model | Cascade, reason: str = "") -> ModelRecord:
    """Return the record of a network in a result."""
    first, *others = network.members
    record = make_record(network_name(first), first.weights, reason)
    return replace(record, encoder=record_of(others[0])) if others else record


def _describe(network: Model | Cascade) -> str:
    """Return the name and weights file of a network, and of the one that it builds on."""
    files = (one.weights.path.name if one.weights else "fresh weights" for one in network.members)
    names = map(network_name, network.members)
    return " on ".join(f"{name} ({file})" for name, file in zip(names, files, strict=True))


def make_record(name: str, weights: WeightsFile | None, reason: str = "") -> ModelRecord:
    """Return the record of a network or detector in a result."""
    if weights is None:
        return ModelRecord(name, reason=reason)
    return ModelRecord(name, weights.path.name, weights.sha256, reason)
