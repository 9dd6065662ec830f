"""Camera projection, delays at microphones, and errors of geometry files."""

import json
from pathlib import Path

import numpy as np
import pytest

from utils.arrays.geometry import (
    SPEED_OF_SOUND,
    ArrayGeometry,
    Camera,
    read_geometry,
    write_geometry,
)

PAIR = np.array([[-0.1, 0, 0], [0.1, 0, 0]])


def test_a_camera_places_points_across_its_view() -> None:
    camera = Camera("a", fov_deg=90)
    points = np.array([[0, 2, 5], [-2, 2, 0], [2, 2, 0], [4, 2, 0], [0, -1, 0]])
    np.testing.assert_allclose(camera.place(points), [0.5, 0, 1, 1.5, np.nan], atol=1e-12)


def test_a_camera_that_looks_right_sees_what_is_ahead_on_its_left() -> None:
    camera = Camera("a", (1.0, 0.0, 0.0), yaw_deg=30, fov_deg=60)
    np.testing.assert_allclose(camera.place(np.array([1.0, 3.0, 0.0])), 0.0, atol=1e-12)


def test_points_and_places_are_inverse() -> None:
    camera = Camera("a", (0.3, -0.1, 0.2), yaw_deg=-12, fov_deg=70)
    fractions = np.linspace(-0.2, 1.2, 8)
    points = camera.point(fractions, 2.5)
    np.testing.assert_allclose(camera.place(points), fractions, atol=1e-12)
    apart = np.linalg.norm(points - np.array(camera.position), axis=1)
    np.testing.assert_allclose(apart, 2.5)


def test_angles_from_the_middle_to_the_edge() -> None:
    camera = Camera("a", fov_deg=55)
    np.testing.assert_allclose(camera.angle_deg(np.array([0, 0.5, 1])), [-27.5, 0, 27.5])


def test_sound_reaches_the_nearer_microphone_first() -> None:
    geometry = ArrayGeometry(PAIR, (Camera("a"),))
    delays = geometry.delays(np.array([[0.0, 3, 0], [3.1, 0, 0]]))
    assert delays.shape == (2, 2)
    assert delays[0, 0] == delays[0, 1]
    np.testing.assert_allclose(delays[1] * SPEED_OF_SOUND, [3.2, 3.0])


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    geometry = ArrayGeometry(PAIR, (Camera("a"), Camera("b", (0.1, 0, 0), 5, 80)))
    write_geometry(geometry, tmp_path / "g.json")
    found = read_geometry(tmp_path / "g.json")
    np.testing.assert_array_equal(found.microphones, PAIR)
    assert found.cameras == geometry.cameras
    assert found.camera("b") == geometry.cameras[1]
    with pytest.raises(ValueError, match="one of a, b, found ''"):
        found.camera("")


CAMERA = {"name": "a"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"cameras": [CAMERA]}, "entry 'microphones'"),
        ({"microphones": PAIR.tolist()}, "entry 'cameras'"),
        ({"microphones": [[0, 0]], "cameras": [CAMERA]}, r"\(M, 3\) metres"),
        ({"microphones": [[0, 0, 0]], "cameras": [CAMERA]}, "at least two microphones"),
        ({"microphones": (1000 * PAIR).tolist(), "cameras": []}, "one camera"),
        ({"microphones": (2000 * PAIR).tolist(), "cameras": [CAMERA]}, "in metres; found .* 200"),
        ({"microphones": PAIR.tolist(), "cameras": [{"name": "a", "fov": 50}]}, "entry 'fov'"),
        ({"microphones": PAIR.tolist(), "cameras": [{**CAMERA, "fov_deg": 200}]}, "found 200"),
        ({"microphones": PAIR.tolist(), "cameras": [{**CAMERA, "position": [1]}]}, "values"),
    ],
    ids=["no mics", "no cameras", "flat", "one", "nobody", "mm", "unknown", "wide", "position"],
)
def test_wrong_files_are_errors(tmp_path: Path, content: dict[str, object], problem: str) -> None:
    path = tmp_path / "g.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=problem) as error:
        read_geometry(path)
    assert str(path) in str(error.value)


def test_no_file_and_no_json_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="geometry file"):
        read_geometry(tmp_path / "gone.json")
    (tmp_path / "g.json").write_text("microphones:")
    with pytest.raises(ValueError, match=r"g\.json"):
        read_geometry(tmp_path / "g.json")
