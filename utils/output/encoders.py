"""Encoders of the marked video: x264, or those of NVIDIA's and Apple's chips on request."""

from collections.abc import Mapping
from types import MappingProxyType

import av
import av.error
from av import VideoCodecContext

from utils.errors import UserError

X264 = "libx264"
CRF = 21  # x264's quality, 0 (lossless) to 51
PRESET = "veryfast"  # of x264: faster encoding, larger file
OPTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        X264: {"crf": str(CRF), "preset": PRESET},
        "h264_nvenc": {"rc": "vbr", "cq": str(CRF), "b": "0"},
        "h264_videotoolbox": {},
    }
)
BITS_PER_PIXEL = 0.1  # of encoders without a constant quality
TRIAL = (640, 368)  # pixels


def check_encoder(name: str) -> None:
    """Raise UserError if an encoder does not run on this machine."""
    try:
        context = VideoCodecContext.create(name, "w")
        context.width, context.height = TRIAL
        context.pix_fmt, context.framerate = "yuv420p", 25
        context.open()
    except (av.error.FFmpegError, av.codec.codec.UnknownCodecError) as error:
        raise UserError(
            f"expected --encoder to name one that runs on this machine, {name} does not ({error}); "
            f"use --encoder {X264}"
        ) from None
