"""HDR is analysed as bright as SDR; marked videos are SDR in pixels and tags."""

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_video import write_video
from utils.media.container import ReadOptions, probe
from utils.media.tone_mapping import ToneMapper
from utils.media.video import read_frames
from utils.output.render import render_video

WHITE = 203  # cd/m2, of the white of SDR in an HDR image (BT.2408)
SIDE = 32  # of a patch, pixels
TAGS = ("color_primaries", "color_trc", "colorspace", "color_range")


def pq(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Encode luminances by SMPTE ST 2084."""
    power = (nits / 10000) ** 0.1593017578125
    encoded = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    return np.asarray(encoded, np.float64)


def hlg(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Encode luminances of a screen of 1000 cd/m2 by BT.2100."""
    scene = (nits / 1000) ** (1 / 1.2)
    bright = 0.17883277 * np.log(np.maximum(12 * scene, 1) - 0.28466892) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def write_hdr(path: Path, encoded: NDArray[np.float64], trc: int) -> None:
    """Write a row of grey patches, 10 bits in BT.2020."""
    row = np.repeat(np.rint(255 * encoded), SIDE).astype(np.uint8)
    image = np.tile(row[None, :, None], (SIDE, 1, 3))
    tags = dict(zip(TAGS, (9, trc, 9, 1), strict=True))
    write_video(path, [image] * 2, pix_fmt="yuv420p10le", properties=tags)


def patches(image: NDArray[np.uint8]) -> list[float]:
    """Return the values in the middle of the patches."""
    return [float(value) for value in image[SIDE // 2, SIDE // 2 :: SIDE].reshape(-1)]


@pytest.mark.parametrize(("encode", "trc"), [(pq, 16), (hlg, 18)], ids=["PQ", "HLG"])
def test_analysis_sees_faces_as_bright_as_in_sdr(
    tmp_path: Path, encode: Callable[[NDArray[np.float64]], NDArray[np.float64]], trc: int
) -> None:
    nits = np.array([0, 4, 10, 26, 50, 100, WHITE, 800])
    write_hdr(tmp_path / "a.mp4", encode(nits), trc)
    frame = next(read_frames(probe(tmp_path / "a.mp4"), None, ReadOptions()))
    expected = 255 * np.minimum(nits / WHITE, 1) ** (1 / 2.4)
    assert patches(frame.grey) == pytest.approx(expected.tolist(), abs=6)
    assert patches(frame.image[..., 0]) == pytest.approx(expected.tolist(), abs=6)


def test_the_marked_video_is_sdr_with_all_highlights(tmp_path: Path) -> None:
    nits = np.array([0, 26, 100, WHITE, 1000, 4000])
    write_hdr(tmp_path / "a.mp4", pq(nits), 16)
    render_video(probe(tmp_path / "a.mp4"), [], tmp_path / "b.mp4", ReadOptions())
    with av.open(str(tmp_path / "b.mp4")) as container:
        image = next(container.decode(video=0))
    assert image.format.name == "yuv420p"
    assert [getattr(image, tag) for tag in TAGS] == [1, 1, 1, 1]
    found = patches(image.to_ndarray(format="gray8"))
    assert found == pytest.approx([0, 101, 126, 153, 205, 237], abs=30)
    assert np.diff(found).min() > 10


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (2, 2, 2, 0), (9, 14, 9, 1)], ids=str)
def test_sdr_is_left_alone(tags: Sequence[int]) -> None:
    image = av.VideoFrame(32, 32, "yuv420p10le")
    for name, value in zip(TAGS, tags, strict=True):
        setattr(image, name, value)
    assert ToneMapper("perceptual").sdr(image) is image
