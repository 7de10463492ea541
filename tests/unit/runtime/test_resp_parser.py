"""Requests from any bytes in any chunks, and nothing allocated on a client's word."""

import random
import resource

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultlab.runtime.errors import ProtocolError
from faultlab.runtime.resp.parser import RequestParser


def pack(*args: bytes) -> bytes:
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in args)


def drain(parser: RequestParser) -> list[list[bytes]]:
    requests = []
    while (request := parser.next()) is not None:
        requests.append(request)
    return requests


def take(parser: RequestParser, chunks: list[bytes]) -> None:
    for chunk in chunks:
        parser.feed(chunk)
        drain(parser)


def feed_in_chunks(data: bytes, sizes: random.Random) -> list[list[bytes]]:
    parser = RequestParser()
    requests: list[list[bytes]] = []
    at = 0
    while at < len(data):
        size = sizes.choice([1, 2, 3, 7, 50, 5000])
        parser.feed(data[at : at + size])
        requests += drain(parser)
        at += size
    return requests


nasty = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"*123456789\r\n", b"\r\n*999999\r\n", b"*", b"*12", b"%1234567", b">99999999", b"~1"]),
    st.builds(lambda a, b: a + b"*4000000000\r\n" + b, st.binary(max_size=9), st.binary(max_size=9)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(nasty, min_size=1, max_size=4), max_size=6), st.integers())
def test_requests_come_out_as_they_went_in_however_they_are_cut(
    requests: list[list[bytes]], seed: int
) -> None:
    data = b"".join(pack(*request) for request in requests)
    assert feed_in_chunks(data, random.Random(seed)) == requests


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), nasty), max_size=8), st.integers())
def test_garbage_gives_requests_or_a_protocol_error_and_nothing_else(chunks: list[bytes], seed: int) -> None:
    try:
        requests = feed_in_chunks(b"".join(chunks), random.Random(seed))
    except ProtocolError:
        return
    assert all(type(argument) is bytes for request in requests for argument in request)


@pytest.mark.parametrize("kind", [b"*", b"%", b"~", b">"])
@pytest.mark.parametrize("nested", [b"", b"*2\r\n$1\r\na\r\n"])
@pytest.mark.parametrize("cut", [None, 1, 3])
def test_a_declared_count_over_the_bound_is_refused_before_it_is_believed(
    kind: bytes, nested: bytes, cut: int | None
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data = pack(b"PING") + nested + kind + b"500000000\r\n"
    at = len(data) if cut is None else data.index(kind + b"5") + cut
    parser = RequestParser()
    with pytest.raises(ProtocolError, match="elements"):
        take(parser, [data[:at], data[at:]])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_the_largest_count_within_the_bound_is_taken() -> None:
    parser = RequestParser()
    parser.feed(pack(*[b"x"] * 99_999))
    assert [len(request) for request in drain(parser)] == [99_999]


def test_a_request_over_the_byte_bound_is_refused_while_it_is_still_coming() -> None:
    parser = RequestParser(max_request_bytes=10_000)
    chunks = [b"*2\r\n$3\r\nGET\r\n$1000000000\r\n", *[b"x" * 1000] * 11]
    with pytest.raises(ProtocolError, match="over 10000 bytes"):
        take(parser, chunks)


def test_many_requests_in_a_row_do_not_add_up_to_the_byte_bound() -> None:
    parser = RequestParser(max_request_bytes=1000)
    for _ in range(50):
        parser.feed(pack(b"SET", b"k", b"v" * 100))
        assert len(drain(parser)) == 1


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"POST /x HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\n",
            b"$3\r\nfoo\r\n",
            b":1\r\n",
            b"+OK\r\n",
            b"-ERR\r\n",
        ),
        *(b"*1\r\n:1\r\n", b"*1\r\n*1\r\n$1\r\na\r\n", b"*1\r\n$-1\r\n", b"*1\r\n_\r\n"),
        *(b"*-7\r\n", b"*x\r\n", b"*1\r\n$x\r\n", b"\x00\x01\x02"),
    ],
)
def test_what_is_no_array_of_bulk_strings_is_a_protocol_error(data: bytes) -> None:
    parser = RequestParser()
    with pytest.raises(ProtocolError):
        take(parser, [data])


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_inline_commands_are_words_on_a_line_and_mix_with_arrays(size: int) -> None:
    data = b"PING\r\nset  k v\n" + pack(b"SET", b"k", b"letters") + b"GET k\r\n"
    parser = RequestParser()
    requests: list[list[bytes]] = []
    for at in range(0, len(data) - 7, size):
        parser.feed(data[at : min(at + size, len(data) - 7)])
        requests += drain(parser)
    parser.feed(data[-7:])
    requests += drain(parser)
    assert requests == [[b"PING"], [b"set", b"k", b"v"], [b"SET", b"k", b"letters"], [b"GET", b"k"]]


def test_an_inline_command_without_an_end_is_refused_at_its_bound() -> None:
    parser = RequestParser()
    with pytest.raises(ProtocolError, match="inline command over"):
        take(parser, [b"x" * 10_000] * 7)


def test_empty_requests_are_passed_over_as_in_redis() -> None:
    parser = RequestParser()
    parser.feed(b"*0\r\n*0\r\n" + pack(b"PING"))
    assert drain(parser) == [[b"PING"]]
