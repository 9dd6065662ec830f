"""Read the time stamps of a media file's packets, and close jumps of its clock.

In concatenated transport streams and reconnected recordings, the time stamps of all streams restart
in the middle of the file. Such a position is a `Join`: from there on, the same offset is added to
the time stamps of every stream, so that the streams stay in sync and the parts follow each other
without a gap.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av.error
from av import Packet, VideoStream
from av.container import InputContainer
from av.format import Flags
from av.stream import Disposition, Stream

SECOND = 1_000_000  # all times here are whole microseconds
BACK = SECOND // 2  # a larger step back is a restart of the clock
# No recording pauses for this long. If MPEG's 33-bit clock restarts at a lower value, FFmpeg
# assumes a wrap-around and adds 26.5 hours.
FORWARD = 12 * 3600 * SECOND
SEAMLESS = SECOND // 4  # a packet this close to the end of the one before belongs to the same part
CUT_OFF_S = Fraction(1, 2)  # a file that ends this much earlier than its header says is cut off
SPIKE_PACKETS = 4  # a stream that returns after at most so many packets had faulty time stamps


@dataclass(frozen=True)
class Join:
    """A position in a file where time stamps restart."""

    time_s: Fraction  # on the container's clock, earlier joins closed
    jump_s: Fraction  # from the end of the part before to the next stored time stamp
    offset_s: Fraction  # added to the time stamps from here on
    firsts: tuple[tuple[int, int], ...]  # stream index, byte position of its first packet


@dataclass(frozen=True)
class PacketTimes:
    """Ends of the streams and joins of a file, on the container's clock."""

    ends_s: dict[int, Fraction]  # by stream index
    joins: tuple[Join, ...]


@dataclass(eq=False)
class _Part:
    """The packets between two joins."""

    time: int = 0
    jump: int = 0
    offset: int = 0
    firsts: dict[int, int] = field(default_factory=dict)
    reached: int = 0  # by the stream that came last

    def join(self) -> Join:
        """Return how the part joins the one before."""
        return Join(
            time_s=Fraction(self.time, SECOND),
            jump_s=Fraction(self.jump, SECOND),
            offset_s=Fraction(self.offset, SECOND),
            firsts=tuple(self.firsts.items()),
        )


@dataclass(frozen=True)
class _Leap:
    """A time stamp ahead of the stream's position."""

    number: int  # of the packet in the file
    position: int  # byte
    next: int  # of the stream before
    end: int


@dataclass(eq=False)
class _StreamClock:
    """Position of a stream on the container's clock, with the joins closed."""

    ticks: int  # microseconds in `per` ticks
    per: int
    next: int | None = None  # when the next packet is expected to be decoded
    end: int = 0  # when the last one has been shown
    part: int = 0
    leap: "_Leap | None" = None  # the last one ahead
    since_leap: int = 0  # packets
    latest: tuple[int, int] = (-1, -1)  # numbers of the last two packets in the file

    def microseconds(self, stamp: int) -> int:
        """Return a time stamp of the stream in microseconds."""
        return stamp * self.ticks // self.per


def read_packet_times(container: InputContainer) -> PacketTimes:
    """Read all packets, without decoding, up to the end of the file or the first error."""
    walk = _Walk(container.streams)
    packets = container.demux()
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            packet = None
        if packet is None:
            return walk.times()
        walk.add(packet)


class _Walk:
    """Processes the packets of all streams in the order of the file."""

    def __init__(self, streams: Iterable[Stream]) -> None:
        self._parts = [_Part()]
        self._clocks: dict[int, _StreamClock] = {}
        self._number = 0  # of packets
        for stream in streams:
            is_cover = stream.disposition & Disposition.attached_pic
            if stream.type in ("video", "audio") and not is_cover and stream.time_base:
                base = stream.time_base
                clock = _StreamClock(base.numerator * SECOND, base.denominator)
                self._clocks[stream.index] = clock

    def add(self, packet: Packet) -> None:
        """Take the next packet of the file."""
        clock = self._clocks.get(packet.stream_index)
        stamp = packet.dts if packet.dts is not None else packet.pts
        if clock is None or stamp is None:
            return
        decoded = clock.microseconds(stamp)
        shown = decoded if packet.pts is None else clock.microseconds(packet.pts)
        if clock.next is None:
            clock.part = len(self._parts) - 1
        else:
            self._choose_part(clock, packet, decoded, shown)
        part = self._parts[clock.part]
        length = clock.microseconds(packet.duration or 0)
        clock.next = decoded + part.offset + length
        clock.end = max(clock.end, shown + part.offset + length)
        part.reached = clock.next
        clock.latest = (clock.latest[1], self._number)
        self._number += 1

    def _choose_part(self, clock: _StreamClock, packet: Packet, decoded: int, shown: int) -> None:
        """Decide whether a packet continues its stream's part or begins another."""
        assert clock.next is not None
        newest = self._parts[-1]
        time = decoded + self._parts[clock.part].offset
        leap = time - clock.next
        clock.since_leap += 1
        if abs(leap) <= SEAMLESS:
            return
        new_time = decoded + newest.offset
        if newest is not self._parts[clock.part] and abs(new_time - newest.reached) < abs(
            time - newest.reached
        ):
            self._enter_newest(clock, packet, shown)
        elif self._returns(clock, time):
            assert clock.leap is not None
            clock.next, clock.end, clock.leap = clock.leap.next, clock.leap.end, None
        elif not -BACK <= leap <= FORWARD:
            offset = clock.end - shown
            self._parts.append(_Part(clock.end, leap, offset, reached=clock.end))
            self._enter_newest(clock, packet, shown)
            self._take_along(clock)
        elif leap > 0:
            clock.leap = _Leap(self._number, packet.pos or 0, clock.next, clock.end)
            clock.since_leap = 0

    def _returns(self, clock: _StreamClock, time: int) -> bool:
        """Return whether a stream continues from where a few packets leapt ahead."""
        if clock.leap is None or clock.since_leap > SPIKE_PACKETS:
            return False
        return abs(time - clock.leap.next) <= BACK

    def _take_along(self, opener: _StreamClock) -> None:
        """Move streams that leapt ahead at the start of the newest part to that part.

        They ended early in the part before, so their time stamps did not go back. The packet before
        the opener's may be late because a parser waits for the next one.
        """
        newest = self._parts[-1]
        for index, clock in self._clocks.items():
            leap = clock.leap
            if clock is opener or leap is None or leap.number < opener.latest[0]:
                continue
            assert clock.next is not None
            move = newest.offset - self._parts[clock.part].offset
            clock.next, clock.end = clock.next + move, clock.end + move
            clock.part, clock.leap = len(self._parts) - 1, None
            newest.firsts[index] = leap.position

    def _enter_newest(self, clock: _StreamClock, packet: Packet, shown: int) -> None:
        """Move a stream to the newest part, which begins after the end of both streams."""
        part = self._parts[-1]
        overlap = clock.end - (shown + part.offset)
        if overlap > 0:
            for other in self._clocks.values():
                if other.part == len(self._parts) - 1 and other.next is not None:
                    other.next += overlap
                    other.end += overlap
            part.offset += overlap
            part.reached += overlap
        clock.part = len(self._parts) - 1
        clock.leap = None
        part.firsts[packet.stream_index] = packet.pos or 0

    def times(self) -> PacketTimes:
        """Return what was found."""
        ends = {
            index: Fraction(clock.end, SECOND)
            for index, clock in self._clocks.items()
            if clock.next is not None
        }
        return PacketTimes(ends, tuple(part.join() for part in self._parts[1:]))


def close_joins(
    packets: Iterable[Packet], stream: Stream, joins: Iterable[Join]
) -> Iterator[Packet]:
    """Yield the packets of one stream with time stamps that are continuous across joins."""
    assert stream.time_base is not None
    moves = sorted(
        (position, round(join.offset_s / stream.time_base))
        for join in joins
        for index, position in join.firsts
        if index == stream.index
    )
    offsets = [0, *(offset for _, offset in moves)]
    offset = 0
    for packet in packets:
        if packet.pos is not None:
            offset = offsets[bisect_right(moves, packet.pos, key=lambda move: move[0])]
        if packet.pts is not None:
            packet.pts += offset
        if packet.dts is not None:
            packet.dts += offset
        yield packet


def duration_s(
    container: InputContainer,
    stream: VideoStream,
    times: PacketTimes,
    image_s: Fraction,
    start_s: Fraction,
) -> float:
    """Return the end of the video stream on the video's clock; 0 if unknown.

    If the header promises more than any stream holds, the file is cut off and the header is used.
    """
    promised_s = Fraction(container.duration or 0, 1000000)
    if stream.index in times.ends_s:
        whole_s = max(times.ends_s.values())
        estimated = times.joins or Flags.ts_discont in Flags(container.format.flags)
        cut_off = not estimated and promised_s > whole_s + CUT_OFF_S
        return float((promised_s if cut_off else times.ends_s[stream.index]) - start_s)
    if not stream.duration:
        return max(0.0, float(promised_s))
    length_s = stream.duration * stream.time_base
    if len(stream.index_entries) > 1:
        first, last = stream.index_entries[0], stream.index_entries[-1]
        length_s = max(length_s, (last.timestamp - first.timestamp) * stream.time_base)
    return float(length_s + image_s - start_s)
