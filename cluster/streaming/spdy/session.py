"""The state of one SPDY connection: which streams there are, and what each frame means (pure).

Flow control is one-sided. We send WINDOW_UPDATE for what was consumed, so that a sender that
counts goes on. We do not hold back what we send: Kubernetes clients (spdystream) never send
WINDOW_UPDATE, and would wait for ever after the first 64 KiB. Slow readers are TCP's matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cluster.streaming.spdy import frames
from cluster.streaming.spdy.errors import SpdyError
from cluster.streaming.spdy.frames import Control, Data, Frame, FrameReader
from cluster.streaming.spdy.headers import Compressor, Decompressor

WINDOW_BYTES = 64 * 1024
STREAMS_MAX = 1024


@dataclass(frozen=True, slots=True)
class Opened:
    """The other side has opened a stream; it is answered already."""

    stream_id: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Received:
    stream_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing more comes on the stream; it may still be written to."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class Reset:
    """The stream is over in both directions."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class Left:
    """GOAWAY: no more streams are taken; those that are open go on."""


Event = Opened | Received | Finished | Reset | Left


@dataclass(slots=True)
class _Stream:
    receiving: bool = True
    sending: bool = True
    unacknowledged_bytes: int = 0


class Session:
    """Feed it what arrives, handle the events, send what `output` gives."""

    def __init__(
        self, *, client: bool = False, streams_max: int = STREAMS_MAX, acknowledge: bool = True
    ) -> None:
        """`acknowledge`: tell a sender that counts what was consumed (False: it does not)."""
        self._acknowledges = acknowledge
        self._own = 1 if client else 0
        self._next_id = 1 if client else 2
        self._last_id = 0
        self._streams_max = streams_max
        self._streams: dict[int, _Stream] = {}
        self._reader = FrameReader()
        self._packer, self._unpacker = Compressor(), Decompressor()
        self._output: list[bytes] = []
        self._unacknowledged_bytes = 0
        self._pings = 1 if client else 2

    def output(self) -> bytes:
        """Bytes to be sent since the last call."""
        joined = b"".join(self._output)
        self._output.clear()
        return joined

    @property
    def stream_ids(self) -> tuple[int, ...]:
        return tuple(self._streams)

    # -- what arrives --------------------------------------------------------------------------

    def receive(self, data: bytes) -> Iterator[Event]:
        """Events, one at a time. Raises SpdyError: send what `output` has, then close."""
        try:
            for frame in self._reader.feed(data):
                yield from self._take(frame)
        except SpdyError:
            self._output.append(frames.goaway(self._last_id, frames.PROTOCOL_ERROR))
            raise

    def _take(self, frame: Frame) -> Iterator[Event]:
        if isinstance(frame, Data):
            yield from self._data(frame)
        elif frame.type == frames.SYN_STREAM:
            yield from self._syn_stream(frame)
        elif frame.type in (frames.SYN_REPLY, frames.HEADERS):
            self._unpacker.unpack(frame.payload[4:])
            yield from self._end_of_input(frame.number(), bool(frame.flags & frames.FIN))
        elif frame.type == frames.RST_STREAM:
            if self._streams.pop(frame.number(), None) is not None:
                yield Reset(frame.number())
        elif frame.type == frames.PING:
            if frame.number() % 2 != self._own:
                self._output.append(frames.ping(frame.number()))
        elif frame.type == frames.GOAWAY:
            yield Left()

    def _syn_stream(self, frame: Control) -> Iterator[Event]:
        """The block is unpacked in any case, or those after it could not be."""
        stream_id, headers = frame.number(), self._unpacker.unpack(frame.payload[10:])
        if stream_id % 2 == self._own or stream_id <= self._last_id:
            raise SpdyError(f"stream {stream_id} after {self._last_id}")
        self._last_id = stream_id
        if len(self._streams) >= self._streams_max:
            self._output.append(frames.rst_stream(stream_id, frames.REFUSED_STREAM))
            return
        self._streams[stream_id] = _Stream()
        self._output.append(frames.syn_reply(stream_id, self._packer.pack({})))
        yield Opened(stream_id, headers)
        yield from self._end_of_input(stream_id, bool(frame.flags & frames.FIN))

    def _data(self, frame: Data) -> Iterator[Event]:
        stream = self._streams.get(frame.stream_id)
        if stream is None and not self._was_opened(frame.stream_id):
            raise SpdyError(f"data for stream {frame.stream_id}, which was never opened")
        if stream is None or not stream.receiving:
            self._acknowledge(frame.stream_id, len(frame.data))  # sent before it knew
            return
        if frame.data:
            yield Received(frame.stream_id, frame.data)
        yield from self._end_of_input(frame.stream_id, frame.last)

    def _was_opened(self, stream_id: int) -> bool:
        if stream_id % 2 == self._own:
            return 0 < stream_id < self._next_id
        return stream_id <= self._last_id

    def _end_of_input(self, stream_id: int, ended: bool) -> Iterator[Event]:
        stream = self._streams.get(stream_id)
        if ended and stream is not None and stream.receiving:
            stream.receiving = False
            self._forget(stream_id, stream)
            yield Finished(stream_id)

    def _forget(self, stream_id: int, stream: _Stream) -> None:
        if not stream.receiving and not stream.sending:
            self._streams.pop(stream_id, None)

    # -- what is to be sent --------------------------------------------------------------------

    def open(self, headers: Mapping[str, str]) -> int:
        stream_id, self._next_id = self._next_id, self._next_id + 2
        self._streams[stream_id] = _Stream()
        self._output.append(frames.syn_stream(stream_id, self._packer.pack(headers)))
        return stream_id

    def send(self, stream_id: int, data: bytes) -> None:
        """Nothing is sent on a stream that is over."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.sending:
            for at in range(0, len(data), frames.DATA_SIZE_BYTES_MAX):
                piece = data[at : at + frames.DATA_SIZE_BYTES_MAX]
                self._output.append(frames.data(stream_id, piece))

    def finish(self, stream_id: int) -> None:
        """We send no more on the stream; may be called twice."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.sending:
            stream.sending = False
            self._output.append(frames.data(stream_id, b"", last=True))
            self._forget(stream_id, stream)

    def reset(self, stream_id: int) -> None:
        if self._streams.pop(stream_id, None) is not None:
            self._output.append(frames.rst_stream(stream_id, frames.CANCEL))

    def consumed(self, stream_id: int, size_bytes: int) -> None:
        """So much of what was received was used: the other side may send that much more."""
        self._acknowledge(stream_id, size_bytes)

    def _acknowledge(self, stream_id: int, size_bytes: int) -> None:
        if not self._acknowledges:
            return
        self._unacknowledged_bytes += size_bytes
        if self._unacknowledged_bytes >= WINDOW_BYTES // 2:
            self._output.append(frames.window_update(0, self._unacknowledged_bytes))
            self._unacknowledged_bytes = 0
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.unacknowledged_bytes += size_bytes
            if stream.unacknowledged_bytes >= WINDOW_BYTES // 2:
                update = frames.window_update(stream_id, stream.unacknowledged_bytes)
                self._output.append(update)
                stream.unacknowledged_bytes = 0

    def ping(self) -> None:
        self._output.append(frames.ping(self._pings))
        self._pings = (self._pings + 2) & 0x7FFFFFFF

    def leave(self) -> None:
        self._output.append(frames.goaway(self._last_id))
