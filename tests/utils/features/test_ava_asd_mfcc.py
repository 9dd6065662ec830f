"""MFCC equal the published ones, for any division into pieces."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.parity.fill import inputs
from tests.parity.references import reference
from utils.features.ava_asd_mfcc import (
    HOP_S,
    LEAD_S,
    SoundStatistics,
    ava_asd_mfcc,
    coefficients,
    measure,
    num_rows,
    vectors,
)

EXPECTED = reference("ava_asd_mfcc")
RATES = [44100, 48000]


def published_sound(number: int) -> NDArray[np.float32]:
    """Return the audio of the reference values, in units of 16-bit samples."""
    rate, count = int(EXPECTED[f"sr{number}"]), int(EXPECTED[f"samples{number}"])
    time = np.arange(count) / rate
    noise = inputs(f"audio{number}", (count,), -1, 1)
    sound = 0.3 * noise * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    sound += 0.3 * np.sin(2 * np.pi * 220 * time)
    sound += 0.2 * np.sin(2 * np.pi * (500 + 300 * time) * time)
    return np.asarray(sound.astype(np.float32) * np.float32(32768))


def noise(count: int) -> NDArray[np.int16]:
    return np.random.default_rng(0).integers(-20000, 20000, count).astype(np.int16)


def whole(
    sound: NDArray[np.int16], statistics: SoundStatistics, rate: int = 16000
) -> NDArray[np.float32]:
    return np.concatenate([*vectors([sound], statistics, rate)])


@pytest.mark.parametrize("number", [0, 1], ids=["44.1 kHz", "48 kHz"])
def test_published_values(number: int) -> None:
    rate, sound = RATES[number], published_sound(number)
    pieces = [sound[start : start + 7001] for start in range(0, len(sound), 7001)]
    statistics = measure(lambda: pieces, rate)
    raw = coefficients(sound, (0, num_rows(len(sound), rate)), statistics.peak_db, rate)
    np.testing.assert_allclose(raw.T, EXPECTED[f"mfcc{number}"], atol=1e-3)
    normal = np.concatenate([*vectors(pieces, statistics, rate)])
    np.testing.assert_allclose(normal.T, EXPECTED[f"norm{number}"], atol=1e-4)
    np.testing.assert_allclose(statistics.mean, EXPECTED[f"mean{number}"][:, 0], atol=1e-3)
    np.testing.assert_allclose(statistics.std, EXPECTED[f"std{number}"][:, 0], atol=1e-3)


@pytest.mark.parametrize("count", [0, 1, 2, 199, 400, 401, 640, 161_000])
@pytest.mark.parametrize("piece", [1, 333, 200_000])
def test_pieces_make_no_difference(count: int, piece: int) -> None:
    if count > 1000 and piece == 1:
        piece = 50_000
    sound = noise(count)
    pieces = [sound[start : start + piece] for start in range(0, count, piece)]
    statistics = measure(lambda: pieces)
    raw = coefficients(sound, (0, num_rows(count)), statistics.peak_db)
    streamed = np.concatenate([*vectors(pieces, statistics)])
    assert streamed.shape == (num_rows(count), 13)
    np.testing.assert_allclose(
        streamed, (raw - statistics.mean) / statistics.std, atol=2e-3, rtol=1e-3
    )


def test_clips_read_the_vectors_before_their_ends() -> None:
    sound = noise(32000)
    statistics = measure(lambda: [sound])
    times = np.arange(50) / 25
    rows = np.array([[15, 17, 20, 22, 25], [40, 42, 45, 47, 49]])
    found = ava_asd_mfcc(sound, times, rows)
    normal = whole(sound, statistics)
    assert found.shape == (2, 13, 20) and found.dtype == np.float32
    for clip, stop in zip(found, (97, 193), strict=True):  # int((time - 0.025) / 0.01)
        np.testing.assert_allclose(clip, normal[stop - 20 : stop].T, atol=1e-4)


def test_a_part_of_the_sound_is_enough() -> None:
    sound = noise(48000)
    statistics = measure(lambda: [sound])
    times = np.arange(75) / 25
    rows = np.array([[30, 30, 30, 30, 30], [50, 52, 55, 57, 60]])
    lead = int(LEAD_S / HOP_S)
    first = round((times[30] / HOP_S) - lead) * 160
    part = sound[first : int(times[60] * 16000)]
    found = ava_asd_mfcc(part, times - first / 16000, rows, statistics)
    np.testing.assert_allclose(found, ava_asd_mfcc(sound, times, rows, statistics), atol=1e-5)


def test_before_the_sound_its_first_vector_stands() -> None:
    sound = noise(16000)
    statistics = measure(lambda: [sound])
    found = ava_asd_mfcc(sound, np.arange(25) / 25, np.zeros((1, 5), np.int64), statistics)
    np.testing.assert_allclose(found[0], np.tile(whole(sound, statistics)[:1].T, 20), atol=1e-5)


def test_silence_is_zero() -> None:
    rows = np.tile(np.arange(20, 25), (3, 1))
    found = ava_asd_mfcc(np.zeros(16000, np.int16), np.arange(25) / 25, rows)
    np.testing.assert_allclose(found, np.zeros((3, 13, 20)), atol=1e-3)


def test_no_clips_and_longer_clips() -> None:
    sound, times = noise(16000), np.arange(25) / 25
    assert ava_asd_mfcc(sound, times, np.empty((0, 5), np.int64)).shape == (0, 13, 20)
    assert ava_asd_mfcc(sound, times, np.full((2, 10), 24)).shape == (2, 13, 40)


def test_odd_rates() -> None:
    with pytest.raises(ValueError, match="1000 samples/s or more, got 10"):
        measure(lambda: [noise(100)], 10)
    for count in (0, 1, 275, 551, 22050):  # windows of 551 samples
        statistics = measure(lambda: [noise(count)], 22050)  # noqa: B023 - called at once
        assert len(whole(noise(count), statistics, 22050)) == num_rows(count, 22050)
