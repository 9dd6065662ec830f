"""Generated people in a store: each has a tone for a voice and moves the mouth with it."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from utils.datasets.entities import UNLABELLED, EntityInfo
from utils.datasets.storage.entity_store import EntityStore, EntityStoreWriter
from utils.datasets.talkset.sources import SourceFace

FPS = 25
SAMPLES = 640
TONES = {"ann": 500, "bob": 800, "cat": 1300, "eve": 2100}  # Hz
QUIET = "dan"  # moves, and is never heard


def make_people(folder: Path, num_frames: int = 60) -> tuple[EntityStore, list[SourceFace]]:
    """Write two sources of each person; return the store and their descriptions."""
    writer = EntityStoreWriter(folder)
    sources = []
    for number, person in enumerate([*TONES, QUIET] * 2):
        rng = np.random.default_rng(number)
        talks = person != QUIET
        start = int(rng.integers(5, 15))
        stop = start + num_frames // 2
        open_ = (np.arange(num_frames) // 3) % 2 * (np.arange(num_frames) >= start)
        open_ *= np.arange(num_frames) < stop
        crops = np.full((num_frames, 112, 112), 120 + 10 * number, np.uint8)
        crops[open_ > 0, 76:92, 40:72] = 20
        times = np.arange(num_frames * SAMPLES) / 16000
        loud = np.repeat((np.arange(num_frames) >= start) & (np.arange(num_frames) < stop), SAMPLES)
        tone = np.sin(2 * np.pi * TONES.get(person, 100) * times) * loud * 6000 * talks
        name = f"{person}{number}"
        info = EntityInfo(name, name, num_frames, Fraction(FPS), 0, person)
        labels = np.full(num_frames, UNLABELLED, np.int8)
        writer.add(info, crops, tone.astype(np.int16), labels, np.arange(num_frames) / FPS)
        voice = [(4 * start, 4 * stop)] if talks else []
        sources.append(SourceFace(name, name, person, 0, num_frames, talks, voice, []))
    writer.write_index()
    return EntityStore(folder), sources
