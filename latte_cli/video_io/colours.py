"""Decoded frames into upright RGB pictures, with the very values that ffmpeg gives."""

# Axes: h height, w width, 3 colour channels (RGB).

from fractions import Fraction
from typing import Any

import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

Frame = NDArray[np.uint8]


class ToRgb:
    """Turns PyAV's frames into RGB, one after the other; what they have in common is set up once.

    Through ffmpeg's graph of filters, since the converter that PyAV offers beside it takes the
    colours of interlaced, 10-bit and odd-sized video from the wrong places.
    """

    def __init__(self) -> None:
        self._kind: tuple[object, ...] = ()
        self._graph: Any = None

    def __call__(self, frame: Any) -> Frame:
        """One frame, turned upright: (h, w, 3) uint8."""
        size = (frame.width, frame.height)
        kind = (size, frame.format.name, frame.colorspace, frame.color_range)
        if kind != self._kind:
            self._graph, self._kind = _graph(frame), kind
        self._graph.vpush(frame)
        picture: Frame = self._graph.vpull().to_ndarray()
        turns = turns_of(frame)
        return np.rot90(picture, k=turns) if turns else picture


def turns_of(frame: Any) -> int:
    """Quarter turns, counter-clockwise, that put one of PyAV's frames upright."""
    return round(int(frame.rotation) / 90)


def _graph(frame: Any) -> Any:
    """Filters for frames like this one."""
    graph = Graph()
    if hasattr(graph, "threads"):  # for one small picture they cost more than they save
        graph.threads = 1
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base or Fraction(1),
    )
    graph.link_nodes(source, graph.add("format", "rgb24"), graph.add("buffersink")).configure()
    return graph
