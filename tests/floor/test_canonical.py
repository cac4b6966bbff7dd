from pathlib import Path
from time import process_time
from typing import Any

import cbor2
import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from keeper import canonical
from keeper.chain.block import BlockRef
from keeper.chain.history import History, Log, LogQuery, Logs, Point, Series, SeriesQuery
from keeper.chain.lens import Result
from keeper.chain.snapshot import Snapshot
from keeper.contracts import address
from keeper.errors import DecodeError, KeeperError

GOLDEN = Path(__file__).parent / "golden"
TAG = {"domain": "test/value", "version": 1}

integers = st.integers(-(2**256), 2**256 - 1)
leaves = st.none() | st.booleans() | integers | st.binary(max_size=40) | st.text(max_size=20)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)

# Written by hand from RFC 8949: heads, shortest integers, bignums, maps sorted by encoded key.
CASES: dict[str, tuple[object, str]] = {
    "empty": (None, "f6"),
    "small": (23, "17"),
    "byte": (24, "1818"),
    "word": (2**64 - 1, "1bffffffffffffffff"),
    "bignum": (2**64, "c249010000000000000000"),
    "negative_bignum": (-(2**64) - 1, "c349010000000000000000"),
    "greatest": (2**256 - 1, "c25820" + "ff" * 32),
    "least": (-(2**256), "c35820" + "ff" * 32),
    "bytes": (b"\x01\x02", "420102"),
    "text": ("ü", "62c3bc"),
    "list": ((1, [True, False]), "820182f5f4"),
    "map": ({"aa": 1, "b": 2, "a": 3}, "a361610361620262616101"),
}

SNAPSHOT = Snapshot(
    reference_time=1_800_000_000,
    blocks=(
        BlockRef(1, 20_000_000, b"\x01" * 32, b"\x02" * 32, 1_799_999_988, 10**9),
        BlockRef(8453, 30_000_000, b"\x03" * 32, b"\x04" * 32, 1_799_999_999, 0),
    ),
    results=(
        (
            Result(address("0x" + "11" * 20), b"\x01", True, (10**30).to_bytes(32, "big")),
            Result(address("0x" + "22" * 20), b"", False, b"\xde\xad\xbe\xef"),
        ),
        (),
    ),
    history=(
        History(
            1,
            (
                Logs(
                    LogQuery(address("0x" + "11" * 20), (b"\x0a" * 32, b""), 3),
                    19_999_998,
                    20_000_000,
                    (Log(19_999_999, 7, b"\x0b" * 32, b"\x0c" * 32, (b"\x0a" * 32, b"\x0d" * 32), b"\x0e"),),
                ),
            ),
            (
                Series(
                    SeriesQuery(address("0x" + "22" * 20), b"\x0f", 300, 2),
                    (
                        Point(19_999_700, b"\x10" * 32, 1_799_996_388, True, b"\x11"),
                        Point(20_000_000, b"\x01" * 32, 1_799_999_988, False, b""),
                    ),
                ),
            ),
        ),
    ),
)


@pytest.mark.parametrize("name", CASES)
def test_encoding_is_the_one_of_the_rfc(name: str) -> None:
    value, expected = CASES[name]
    assert canonical.encode(value, **TAG).hex() == "83" + "6a" + b"test/value".hex() + "01" + expected


def test_snapshot_has_the_golden_bytes_and_hash() -> None:
    golden = bytes.fromhex((GOLDEN / "snapshot-v2.hex").read_text())
    assert SNAPSHOT.to_bytes() == golden
    assert Snapshot.from_bytes(golden) == SNAPSHOT
    assert SNAPSHOT.hash.hex() == (GOLDEN / "snapshot-v2.keccak").read_text().strip()


@given(values)
def test_decoding_gives_back_what_was_encoded(value: Any) -> None:
    assert canonical.decode(canonical.encode(value, **TAG), **TAG) == value


@given(values, values)
def test_digests_are_equal_exactly_for_equal_encodings(one: Any, other: Any) -> None:
    same = canonical.encode(one, **TAG) == canonical.encode(other, **TAG)
    assert (canonical.digest(one, **TAG) == canonical.digest(other, **TAG)) == same


@given(st.dictionaries(st.text(max_size=6), leaves, min_size=1), st.data())
def test_a_single_change_changes_the_digest(value: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(value)))
    replacement = data.draw(leaves.filter(lambda new: (type(new), new) != (type(value[key]), value[key])))
    assert canonical.digest({**value, key: replacement}, **TAG) != canonical.digest(value, **TAG)


@given(st.dictionaries(st.text(max_size=6), leaves, min_size=2), st.randoms())
def test_order_of_insertion_does_not_matter(value: dict[str, Any], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert canonical.encode(dict(items), **TAG) == canonical.encode(value, **TAG)


def test_digest_is_keccak_of_the_encoding() -> None:
    assert canonical.digest([1], **TAG) == keccak(canonical.encode([1], **TAG))


def test_true_and_one_are_different() -> None:
    assert canonical.digest(True, **TAG) != canonical.digest(1, **TAG)


@pytest.mark.parametrize("value", [0.5, {1: 2}, {"a": [{"b": {3}}]}, object(), bytearray(b"x"), "\ud800"])
def test_values_without_canonical_encoding_are_refused(value: object) -> None:
    with pytest.raises(KeeperError):
        canonical.encode(value, **TAG)


@pytest.mark.parametrize("bits", [256, 20_000])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_integer_of_more_than_256_bits_is_neither_encoded_nor_decoded(bits: int, sign: int) -> None:
    value = sign * 2**bits - (sign < 0)
    with pytest.raises(KeeperError, match=r"\$\.a\]: expected at most 256 bits"):
        canonical.encode({"a": value}, **TAG)
    with pytest.raises(DecodeError, match="a bignum of at most 32 bytes"):
        canonical.decode(cbor2.dumps([TAG["domain"], TAG["version"], {"a": value}]), **TAG)
    with pytest.raises(DecodeError, match="a bignum of at most 32 bytes"):
        canonical.decode(cbor2.dumps([TAG["domain"], value, {}]), **TAG)


def test_refusal_names_the_path() -> None:
    with pytest.raises(KeeperError, match=r"\$\.legs\[1\]\.amount"):
        canonical.encode({"legs": [{}, {"amount": 1.5}]}, **TAG)


def test_endless_nesting_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(KeeperError, match="nested too deeply"):
        canonical.encode(value, **TAG)


@pytest.mark.parametrize(
    "tag", [{"domain": "test/other", "version": 1}, {"domain": "test/value", "version": 2}]
)
def test_another_domain_or_version_is_refused(tag: dict[str, Any]) -> None:
    data = canonical.encode([1], **TAG)
    with pytest.raises(DecodeError, match="another kind"):
        canonical.decode(data, **tag)
    assert canonical.digest([1], **tag) != canonical.digest([1], **TAG)


PREFIX = "836a" + b"test/value".hex() + "01"


@pytest.mark.parametrize(
    "tail",
    [
        "1801",  # one in two bytes
        "c24101",  # one as a bignum
        "9f01ff",  # a list of indefinite length
        "a2616201616102",  # keys out of order
        "a2616101616102",  # a key twice
        "f90000",  # a float
        "a10102",  # an integer key
        "0100",  # a byte too many
        "",  # cut off
        "d81c80",  # a shared value
        "c074323032302d30312d30315430303a30303a30305a",  # a date
    ],
)
def test_any_other_encoding_of_a_value_is_refused(tail: str) -> None:
    with pytest.raises(DecodeError):
        canonical.decode(bytes.fromhex(PREFIX + tail), **TAG)


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_refused_or_canonical(data: bytes) -> None:
    try:
        value = canonical.decode(data, **TAG)
    except DecodeError:
        return
    assert canonical.encode(value, **TAG) == data


def shared(levels: int) -> bytes:
    """Lists, each holding the one before it twice by reference: as a tree there are 2**levels."""
    said = b"\xd8\x1c\x81\x00"
    for i in range(levels):
        reference = b"\xd8\x1d" + cbor2.dumps(i)
        said += b"\xd8\x1c\x82" + reference + reference
    return b"\x99" + (levels + 1).to_bytes(2) + said


def named(times: int) -> bytes:
    """A long string in a namespace, and short references to it."""
    return b"\xd9\x01\x00\x99" + (times + 1).to_bytes(2) + cbor2.dumps("x" * 5_000) + b"\xd8\x19\x00" * times


# The larger ones, once decoded by whoever follows references, fill the memory of any machine.
BOMBS = {
    "a few shared values": shared(12),
    "shared values": shared(200),
    "a few references to a string": named(10),
    "references to a string": named(60_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_references_are_refused_before_anything_is_made_of_them(name: str) -> None:
    with pytest.raises(DecodeError, match=r"no tag but a bignum's, saw tag (28|256),"):
        canonical.decode(bytes.fromhex(PREFIX) + BOMBS[name], **TAG)


@pytest.mark.parametrize("tag", [*range(2), *range(4, 300), 55_799, 2**64 - 1])
def test_no_tag_but_a_bignums_is_read(tag: int) -> None:
    head = cbor2.dumps(tag)
    tagged = bytes([0xC0 | head[0]]) + head[1:] + b"\x41\x01"
    with pytest.raises(DecodeError, match=f"saw tag {tag},"):
        canonical.decode(bytes.fromhex(PREFIX) + tagged, **TAG)


@pytest.mark.parametrize(
    ("tail", "says"),
    [
        ("9bffffffffffffffff", "1 more bytes, saw 0"),
        ("bbffffffffffffffff", "1 more bytes, saw 0"),
        ("5bffffffffffffffff00", "more bytes, saw 1"),
        ("7bffffffffffffffff00", "more bytes, saw 1"),
        ("81" * 66 + "00", "at most 64 levels"),
        ("81" * 100_000, "at most 64 levels"),
        ("a1c24900ffffffffffffffff00", "text for a key"),
    ],
)
def test_what_data_says_of_its_size_is_not_believed(tail: str, says: str) -> None:
    with pytest.raises(DecodeError, match=says):
        canonical.decode(bytes.fromhex(PREFIX + tail), **TAG)


def seconds(value: object) -> float:
    """That decoding takes, of this process's own."""
    data = canonical.encode(value, **TAG)
    began = process_time()
    assert canonical.decode(data, **TAG) == value
    return process_time() - began


def test_a_long_key_costs_no_more_than_its_bytes() -> None:
    flat = min(seconds([0] * 120_000) for _ in range(3))
    assert min(seconds({"k" * 120_000: [0] * 120_000}) for _ in range(3)) < 4 * flat


@given(st.binary(max_size=80) | values.map(lambda value: canonical.encode(value, **TAG)))
def test_what_is_decoded_is_what_a_general_decoder_reads(data: bytes) -> None:
    try:
        value = canonical.decode(data, **TAG)
    except DecodeError:
        return
    assert cbor2.loads(data) == [TAG["domain"], TAG["version"], value]
