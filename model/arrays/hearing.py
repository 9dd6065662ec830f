"""Hear where somebody speaks in a video from an array's recording beside it."""

from pathlib import Path

from model.arrays.localisation import hear, load_localizer
from utils.arrays.fusion import ArrayOptions
from utils.arrays.geometry import ArrayGeometry, Camera, read_geometry
from utils.arrays.sound import ArraySound, SoundChecks, check_levels, open_array
from utils.arrays.spectra import FPS
from utils.arrays.speech_positions import Heard
from utils.arrays.srp_phat import steer
from utils.datasets.tragic_talkers.scaler import FILE as SCALER
from utils.datasets.tragic_talkers.scaler import read_scaler
from utils.errors import UserError


def listen(options: ArrayOptions, checks: SoundChecks, device: str = "cpu") -> tuple[Heard, Camera]:
    """Return localised speech across the camera's view, and the camera.

    Args:
        options: The array's recording and geometry.
        checks: When a microphone counts as clipped or silent.
        device: Device of a localizer.

    Raises:
        FileNotFoundError: A file is missing.
        UserError: Files are wrong or do not match.
    """
    assert options.array is not None
    assert options.array_geometry is not None
    geometry = read_geometry(options.array_geometry)
    camera = geometry.camera(options.array_camera)
    sound = open_array(options.array, len(geometry.microphones))
    check_levels(sound, checks, str(options.array))
    num_frames = int(sound.duration_s * FPS)
    if options.array_weights is None:
        return steer(sound, geometry, camera, num_frames), camera
    return _by_network(options.array_weights, sound, (geometry, camera), device), camera


def _by_network(
    weights: Path, sound: ArraySound, view: tuple[ArrayGeometry, Camera], device: str
) -> Heard:
    """Return the speech localised by a trained localizer for a camera of its array."""
    geometry, camera = view
    network = load_localizer(weights).to(device)
    if len(geometry.cameras) > network.num_cameras:
        raise UserError(
            f"expected at most {network.num_cameras} cameras in the geometry, as many as {weights} "
            f"was trained for, found {len(geometry.cameras)}"
        )
    places = (weights.parent / SCALER, weights.parent.parent / SCALER)
    scaler = read_scaler(next((path for path in places if path.is_file()), places[0]))
    place = geometry.cameras.index(camera)
    return hear(network, sound, scaler, [place], int(sound.duration_s * FPS))[0]
