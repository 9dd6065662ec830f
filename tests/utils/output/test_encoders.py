"""An encoder that does not run on this machine is an error before any work."""

from typing import Any

import pytest

from utils.demo_options import VideoOptions
from utils.errors import UserError
from utils.output.encoders import OPTIONS, X264, check_encoder


def test_x264_is_always_there() -> None:
    check_encoder(X264)


@pytest.mark.parametrize("name", sorted({*OPTIONS} - {X264}))
def test_an_encoder_runs_or_says_that_it_does_not(name: Any) -> None:
    message = rf"{name} does not \(.+\); use --encoder libx264"
    try:
        check_encoder(name)
    except UserError:
        with pytest.raises(UserError, match=message):
            VideoOptions(encoder=name)
    else:
        assert VideoOptions(encoder=name).encoder == name
