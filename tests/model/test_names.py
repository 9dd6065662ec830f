"""Names are those of the files in the folders of networks and detectors."""

from model.names import detector_names, network_names


def test_names() -> None:
    assert {"light_asd", "loconet", "lr_asd", "synchrony", "talknet"} < set(network_names())
    assert list(network_names()) == sorted(network_names())
    assert detector_names() == ("s3fd", "tiny_fcos", "yunet")
