"""Convert high dynamic range (HDR) images to standard dynamic range (SDR)."""

from typing import Literal

from av import VideoFrame
from av.filter import Graph
from av.video.reformatter import ColorTrc

Intent = Literal["perceptual", "relative_colorimetric"]

HDR_CURVES = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)  # PQ and HLG


class ToneMapper:
    """Converts HDR images to BT.709 and returns all others unchanged.

    Building the filter for the first HDR image takes 2 to 4 s of CPU time, each image then a few
    milliseconds.

    Args:
        intent: perceptual compresses highlights, which darkens the rest; relative_colorimetric
            clips everything brighter than white (203 cd/m²) and keeps faces as bright as in SDR.
    """

    def __init__(self, intent: Intent) -> None:
        self._intent = intent
        self._graph: Graph | None = None
        self._kind = ""

    def sdr(self, image: VideoFrame) -> VideoFrame:
        """Return the image in SDR, with the same number of bits."""
        if image.color_trc not in HDR_CURVES:
            return image
        kind = (
            f"video_size={image.width}x{image.height}:pix_fmt={image.format.name}:time_base=1/1000:"
            f"colorspace={int(image.colorspace)}:range={int(image.color_range)}"
        )
        if self._graph is None or kind != self._kind:
            self._graph, self._kind = self._built(kind), kind
        self._graph.vpush(image)
        return self._graph.vpull()

    def _built(self, kind: str) -> Graph:
        """Return a filter for images of one kind."""
        graph = Graph()
        scale = (
            "out_transfer=bt709:out_primaries=bt709:out_color_matrix=bt709:out_range=tv:"
            f"intent={self._intent}"
        )
        ends = (graph.add("scale", scale), graph.add("buffersink"))
        graph.link_nodes(graph.add("buffer", kind), *ends).configure()
        return graph
