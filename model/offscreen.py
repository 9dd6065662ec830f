"""Add to a result the speech of people who are not seen."""

import logging
from dataclasses import replace

from model.voice import WINDOW, load_voice_detector
from utils.errors import WeightsUnavailableError
from utils.media.video import VideoSpan
from utils.output.results import Result
from utils.people.offscreen import find_offscreen
from utils.structures import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME

logger = logging.getLogger(__name__)


def add_offscreen(result: Result, span: VideoSpan) -> Result:
    """Return the result with speech that no visible face speaks; reads the audio once more.

    Args:
        result: Of the whole span.
        span: The part of the video that was analysed.
    """
    if not result.video.has_sound or not result.shots:
        return result
    try:
        detector = load_voice_detector()
    except WeightsUnavailableError as error:
        logger.warning("no speech off screen is found: %s", error)
        return result
    first, last = result.shots[0].start, result.shots[-1].stop
    sound = span.open_sound()
    try:
        log_odds = detector.listen(sound.read, first * SAMPLES_PER_FRAME, last * SAMPLES_PER_FRAME)
    finally:
        sound.close()
    visible = [part for part in result.segments if part.kind == "speech"]
    found = find_offscreen(log_odds, WINDOW / SAMPLE_RATE, first / FPS, visible)
    return replace(result, offscreen=found)
