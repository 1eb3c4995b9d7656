"""SPDY/3.1: frames in any cut, header blocks with history, streams, and what strangers send."""

from __future__ import annotations

import itertools
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.streaming.spdy import frames
from cluster.streaming.spdy.errors import SpdyError
from cluster.streaming.spdy.frames import Control, Data, FrameReader
from cluster.streaming.spdy.headers import (
    BLOCK_SIZE_BYTES_MAX,
    DICTIONARY,
    Compressor,
    Decompressor,
)
from cluster.streaming.spdy.session import (
    Finished,
    Left,
    Opened,
    Received,
    Reset,
    Session,
)

names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20)
headers = st.dictionaries(names, st.text(max_size=50), max_size=8)


def cut(data: bytes, points: list[int]) -> list[bytes]:
    edges = [0, *sorted(p % (len(data) + 1) for p in points), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def test_the_dictionary_is_the_one_of_the_specification() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


@given(st.lists(headers, max_size=5))
def test_header_blocks_come_back_as_they_were_one_after_the_other(blocks: list[dict]) -> None:
    packer, unpacker = Compressor(), Decompressor()
    assert [unpacker.unpack(packer.pack(block)) for block in blocks] == blocks


@given(st.binary(max_size=200))
def test_a_malformed_header_block_is_an_error_and_nothing_worse(block: bytes) -> None:
    for data in (block, zlib_block(block)):
        try:
            Decompressor().unpack(data)
        except SpdyError:
            continue


def zlib_block(data: bytes) -> bytes:
    packer = zlib.compressobj(zdict=DICTIONARY)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)


def test_a_header_block_that_grows_beyond_the_limit_is_refused_unread() -> None:
    bomb = zlib_block(struct.pack("!II", 1, 1 << 30) + bytes(64 << 20))
    assert len(bomb) < 100_000
    with pytest.raises(SpdyError, match=f"larger than {BLOCK_SIZE_BYTES_MAX}"):
        Decompressor().unpack(bomb)


@given(
    st.lists(st.tuples(st.integers(1, 2**31 - 1), st.binary(max_size=300), st.booleans())),
    st.lists(st.integers(0, 10_000), max_size=10),
)
def test_data_frames_are_read_in_any_cut(
    sent: list[tuple[int, bytes, bool]], points: list[int]
) -> None:
    wire = b"".join(frames.data(stream, data, last=last) for stream, data, last in sent)
    reader = FrameReader()
    found = [frame for piece in cut(wire, points) for frame in reader.feed(piece)]
    whole: list[tuple[int, bytes, bool]] = []
    held = b""
    lengths = iter(len(data) for _, data, _ in sent)
    wanted = next(lengths, None)
    for frame in found:
        assert isinstance(frame, Data)
        held += frame.data
        if len(held) == wanted:
            whole.append((frame.stream_id, held, frame.last))
            held, wanted = b"", next(lengths, None)
    assert whole == sent


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_any_bytes_are_frames_or_an_error(data: bytes, points: list[int]) -> None:
    session = Session()
    try:
        for piece in cut(data, points):
            list(session.receive(piece))
    except SpdyError:
        assert frames.goaway(0, 1)[:8] in session.output()


def test_a_control_frame_that_claims_to_be_huge_is_refused_at_its_head() -> None:
    head = struct.pack("!II", 0x80030001, 0xFFFFFF)
    with pytest.raises(SpdyError, match="16777215 bytes"):
        list(FrameReader().feed(head))


def test_another_version_is_refused() -> None:
    with pytest.raises(SpdyError, match="version 2"):
        list(FrameReader().feed(struct.pack("!II", 0x80020006, 4) + bytes(4)))


def test_streams_are_opened_answered_written_and_closed_in_halves() -> None:
    client, server = Session(client=True), Session()
    stream = client.open({"streamtype": "data"})
    client.send(stream, b"hello")
    client.finish(stream)
    events = list(server.receive(client.output()))
    assert events == [
        Opened(1, {"streamtype": "data"}),
        Received(1, b"hello"),
        Finished(1),
    ]
    server.send(1, b"answer")
    assert list(client.receive(server.output())) == [Received(1, b"answer")]
    assert client.stream_ids == server.stream_ids == (1,)
    server.finish(1)
    assert list(client.receive(server.output())) == [Finished(1)]
    assert client.stream_ids == server.stream_ids == ()


def test_a_stream_number_that_was_there_before_ends_the_connection() -> None:
    server = Session()
    packer = Compressor()
    for number, good in ((3, True), (3, False)):
        frame = frames.syn_stream(number, packer.pack({}))
        if good:
            assert list(server.receive(frame)) == [Opened(3, {})]
        else:
            with pytest.raises(SpdyError):
                list(server.receive(frame))


def test_streams_beyond_the_limit_are_refused_and_those_before_go_on() -> None:
    client, server = Session(client=True), Session(streams_max=2)
    for _ in range(3):
        client.open({})
    assert [e for e in server.receive(client.output()) if isinstance(e, Opened)] == [
        Opened(1, {}),
        Opened(3, {}),
    ]
    assert list(client.receive(server.output())) == [Reset(5)]
    client.send(1, b"x")
    assert list(server.receive(client.output())) == [Received(1, b"x")]


def test_pings_are_answered_and_answers_are_not() -> None:
    client, server = Session(client=True), Session()
    client.ping()
    list(server.receive(client.output()))
    answer = server.output()
    assert answer == frames.ping(1)
    list(client.receive(answer))
    assert client.output() == b""


def test_what_is_consumed_opens_the_window_again() -> None:
    client, server = Session(client=True), Session()
    stream = client.open({})
    list(server.receive(client.output()))
    server.output()
    server.consumed(stream, 10_000)
    assert server.output() == b""
    server.consumed(stream, 30_000)
    updates = [f for f in FrameReader().feed(server.output()) if isinstance(f, Control)]
    assert [(u.number(0), u.number(4)) for u in updates] == [(0, 40_000), (stream, 40_000)]


def test_data_for_a_stream_that_was_reset_is_counted_but_not_delivered() -> None:
    client, server = Session(client=True), Session()
    stream = client.open({})
    list(server.receive(client.output()))
    server.reset(stream)
    server.output()
    client.send(stream, bytes(40_000))
    assert list(server.receive(client.output())) == []
    assert server.output() == frames.window_update(0, 40_000)


def test_data_for_a_stream_that_never_was_ends_the_connection() -> None:
    for stream in (0, 1, 2, 77):
        with pytest.raises(SpdyError, match="never opened"):
            list(Session().receive(frames.data(stream, b"x")))


def test_goaway_is_told() -> None:
    client, server = Session(client=True), Session()
    client.leave()
    assert list(server.receive(client.output())) == [Left()]


@given(st.data())
def test_two_sessions_agree_whatever_they_do_and_however_it_is_cut(data: st.DataObject) -> None:
    """Each stream delivers what was sent on it, in order, up to its end."""
    client, server = Session(client=True), Session()
    sent: dict[int, bytes] = {}
    got: dict[int, bytes] = {}
    open_ones: set[int] = set()
    ended: set[int] = set()
    for _ in range(data.draw(st.integers(0, 20))):
        action = data.draw(st.sampled_from(["open", "send", "finish", "ping", "deliver"]))
        if action == "open":
            stream = client.open(data.draw(headers))
            sent[stream] = b""
            open_ones.add(stream)
        elif action == "ping":
            client.ping()
        elif action == "deliver" or not open_ones:
            deliver(client, server, got, ended, data.draw(st.lists(st.integers(0, 999))))
        else:
            stream = data.draw(st.sampled_from(sorted(open_ones)))
            if action == "send":
                piece = data.draw(st.binary(max_size=100))
                client.send(stream, piece)
                sent[stream] += piece
            else:
                client.finish(stream)
                open_ones.discard(stream)
    deliver(client, server, got, ended, [])
    assert {s: got.get(s, b"") for s in sent} == sent
    assert ended == set(sent) - open_ones


def deliver(
    client: Session, server: Session, got: dict[int, bytes], ended: set[int], points: list[int]
) -> None:
    for piece in cut(client.output(), points):
        for event in server.receive(piece):
            if isinstance(event, Received):
                got[event.stream_id] = got.get(event.stream_id, b"") + event.data
            elif isinstance(event, Finished):
                ended.add(event.stream_id)
