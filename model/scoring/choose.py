"""Which scorer a network needs."""

from collections.abc import Sequence

from model.contract import Cascade, ClipNetwork, Model, Network
from model.scoring.clip_scoring import ClipEncoder, ClipScorer
from model.scoring.context_scoring import ContextScorer
from model.scoring.scorers import Hear, Scorer, SequenceScorer, WholeSound
from model.scoring.speaker_scoring import SpeakerScorer
from model.scoring.windows import Precision
from utils.errors import UserError


def make_scorer(
    network: Model | Cascade,
    hear: Hear,
    delay: int,
    windows: Sequence[int] | None = None,
    precision: Precision = "fp32",
    whole: WholeSound | None = None,
) -> Scorer:
    """Return what scores face tracks with a network.

    Args:
        network: Of any kind.
        hear: Gives the sound.
        delay: Frames after which a piece comes, at most, once it is full or its track has ended.
        windows: Lengths that are scored at once, s; only of networks that read sequences.
        precision: Of their visual encoder.
        whole: Gives the whole sound, for networks that must know its statistics.
    """
    if windows is not None and not isinstance(network, Network):
        raise UserError("--windows is of networks that read sequences; this one reads clips")
    if isinstance(network, Cascade):
        return ContextScorer(ClipEncoder(network.encoder, hear, whole), network.network, delay)
    if isinstance(network, ClipNetwork):
        return ClipScorer(network, hear, whole)
    if not isinstance(network, Network):
        raise ValueError(
            "a context network scores nothing by itself; load it with the clip network that it "
            "builds on, as talkNet.load_network does"
        )
    if network.num_speakers > 1:
        return SpeakerScorer(network, hear, delay, windows, precision)
    return SequenceScorer(network, hear, windows, precision)
