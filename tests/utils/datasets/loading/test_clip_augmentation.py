"""Resizing and augmentation of clips as in ASC and ASDNet."""

import numpy as np
import pytest

from utils.datasets.loading.clip_augmentation import (
    ClipAugmentation,
    augment_clip,
    draw_crop,
    jitter_colours,
    resize_faces,
)

SIZE = 24


def clip(num_frames: int = 5) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.random.default_rng(0).integers(0, 256, (num_frames, SIZE, SIZE, 3)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(2, 40, 40), (2, 12, 16, 3), (2, 24, 24, 3)])
def test_resizing_keeps_levels(shape: tuple[int, ...]) -> None:
    found = resize_faces(np.full(shape, 77, np.uint8), SIZE)
    assert found.shape == (2, SIZE, SIZE, *shape[3:]) and (found == 77).all()


@pytest.mark.parametrize(("published", "area"), [(False, 0.583), (True, 0.4375)])
def test_mean_area_of_crops(published: bool, area: float) -> None:
    rng = np.random.default_rng(1)
    areas, outside = [], 0
    for _ in range(4000):
        left, top, right, bottom = draw_crop(144, published, rng)
        assert 0 <= left < right <= 144 and 0 <= top < bottom <= 144
        areas.append((right - left) * (bottom - top) / 144**2)
        outside += max(right, bottom) > 72 and min(left, top) > 72
    assert np.mean(areas) == pytest.approx(area, abs=0.012)
    assert outside == 0


def test_augmentation_is_reproducible() -> None:
    for changes in (ClipAugmentation(), ClipAugmentation("clip", published_crop=True)):
        one, same, other = (
            augment_clip(clip(), changes, np.random.default_rng(seed)) for seed in (3, 3, 4)
        )
        assert one.shape == (5, SIZE, SIZE, 3) and one.dtype == np.uint8
        assert np.array_equal(one, same) and not np.array_equal(one, other)


@pytest.mark.parametrize(("mode", "num_looks"), [("clip", 1), ("frame", 5)])
def test_colours_of_a_clip(mode: str, num_looks: int) -> None:
    """Equal frames stay equal if colours are drawn once per clip, and else differ."""
    still = np.repeat(clip(1), 5, axis=0)
    changes = ClipAugmentation("clip" if mode == "clip" else "frame")
    changed = augment_clip(still, changes, np.random.default_rng(0))
    assert len(np.unique(changed, axis=0)) == num_looks


def test_half_of_the_clips_are_flipped() -> None:
    ramp = np.zeros((1, SIZE, SIZE, 3), np.uint8) + np.arange(SIZE, dtype=np.uint8)[:, None] * 8
    rng = np.random.default_rng(2)
    rises = [
        int(changed[:, -1].mean()) > int(changed[:, 0].mean())
        for changed in (augment_clip(ramp, ClipAugmentation(), rng)[0] for _ in range(400))
    ]
    assert 0.4 < np.mean(rises) < 0.6


def test_jitter() -> None:
    face = clip(1)[0]
    order = np.arange(3)
    assert np.array_equal(jitter_colours(face, np.ones(3, np.float32), order), face)
    dark = jitter_colours(face, np.array([0.6, 1, 1], np.float32), order)
    np.testing.assert_allclose(dark, 0.6 * face, atol=0.51)
    grey = jitter_colours(face, np.array([1, 1, 0], np.float32), order)
    luma = face @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(grey, np.repeat(luma[..., None], 3, 2), atol=0.6)
    flat = jitter_colours(face, np.array([1, 0, 1], np.float32), order)
    np.testing.assert_allclose(flat, luma.mean(), atol=1)
    assert len(np.unique(flat)) == 1
    strong = np.array([1.4, 1.4, 1.0], np.float32)
    assert not np.array_equal(
        jitter_colours(face, strong, order), jitter_colours(face, strong, order[::-1])
    )
