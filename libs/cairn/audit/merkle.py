"""The Merkle tree of RFC 6962 §2.1, in the words of RFC 9162 §2.1: it grows at the right and forgets nothing.

A subtree is named by its level and index: (level, index) is the complete subtree above the leaves from
`index * 2**level` up to and without `(index + 1) * 2**level`; level 0 is the hash of one leaf. Complete subtrees never
change once they exist, so a store may keep each for ever; whatever else a proof needs is folded from them.

No proof binds the size of its tree: most still verify under another. Sizes and roots must come from a signed
checkpoint, never from whoever made the proof.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import sha256
from typing import NamedTuple, Self

HASH_BYTES = 32
"""The length of every hash in the tree."""
LARGEST_SIZE = 2**63 - 1
"""The most leaves a tree may have: as many as a Kafka partition has offsets."""
EMPTY_ROOT = sha256(b"").digest()
"""The root of the tree without leaves."""

SubtreeHash = Callable[[int, int], bytes]
"""Gives the hash of the complete subtree (level, index)."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one leaf: SHA-256(0x00 || entry)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two neighbours: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


class Run(NamedTuple):
    """Complete subtrees of one level that stand side by side."""

    level: int
    first: int
    """The index of the leftmost."""
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that a tree needs to remember to grow: its size, and the complete subtrees at its right edge.

    One subtree stands for each bit set in the size, the largest first ("compact range" in the literature of
    transparency logs).
    """

    size: int = 0
    edge: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= LARGEST_SIZE:
            raise ValueError(f"a tree of {self.size} leaves cannot be")
        if len(self.edge) != self.size.bit_count():
            raise ValueError(
                f"{self.size} leaves have {self.size.bit_count()} subtrees at the edge, not {len(self.edge)}"
            )
        _require_hashes(self.edge)

    @property
    def root(self) -> bytes:
        """The root of the whole tree."""
        return _fold(self.edge) if self.edge else EMPTY_ROOT

    def append(self, leaf: bytes) -> Self:
        """The frontier with one more leaf, given by its hash."""
        return self.extend((leaf,))

    def extend(self, leaves: Sequence[bytes]) -> Self:
        """The frontier with more leaves, given by their hashes."""
        return self.grow(leaves)[0]

    def grow(self, leaves: Sequence[bytes]) -> tuple[Self, tuple[Run, ...]]:
        """The frontier with more leaves, and the subtrees above level 0 that they completed, lowest level first."""
        _require_hashes(leaves)
        before, edge, runs = list(self.edge), [], []
        level, index, hashes = 0, self.size, list(leaves)
        while index or hashes:
            if index & 1:
                hashes.insert(0, before.pop())
            if len(hashes) & 1:
                edge.append(hashes.pop())
            hashes = list(map(node_hash, hashes[::2], hashes[1::2]))
            level, index = level + 1, index >> 1
            if hashes:
                runs.append(Run(level, index, tuple(hashes)))
        return type(self)(self.size + len(leaves), tuple(reversed(edge))), tuple(runs)

    def to_bytes(self) -> bytes:
        """The size in 8 bytes, big-endian, then the edge, the largest subtree first."""
        return self.size.to_bytes(8, "big") + b"".join(self.edge)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """The frontier that `to_bytes` wrote; a ValueError when the bytes cannot be one."""
        size, edge = int.from_bytes(stored[:8], "big"), stored[8:]
        if len(stored) < 8 or len(edge) != size.bit_count() * HASH_BYTES:
            raise ValueError(f"{len(stored)} bytes are not a frontier")
        return cls(size, tuple(edge[at : at + HASH_BYTES] for at in range(0, len(edge), HASH_BYTES)))


def root_at(size: int, subtree: SubtreeHash) -> bytes:
    """The root that the tree had when it held `size` leaves."""
    return _range_hash(0, size, subtree) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, subtree: SubtreeHash) -> tuple[bytes, ...]:
    """The proof that a leaf stands at `index` in the tree of `size` leaves: PATH of RFC 9162 §2.1.3.1."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has none at {index}")
    return _siblings(index, index + 1, size, subtree)


def consistency_proof(first: int, second: int, subtree: SubtreeHash) -> tuple[bytes, ...]:
    """The proof that the tree of `second` leaves begins with that of `first`: PROOF of RFC 9162 §2.1.4.1.

    It is empty where nothing is to be proved: from the tree without leaves, and from a tree to itself.
    """
    if not 0 <= first <= second:
        raise ValueError(f"a tree of {second} leaves never had {first}")
    if first in (0, second):
        return ()
    last = first & (first - 1)  # where the last complete subtree of the first tree begins
    siblings = _siblings(last, first, second, subtree)
    return (_range_hash(last, first, subtree), *siblings) if last else siblings


def verify_inclusion(leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof leads from the leaf's hash at `index` to the root of `size` leaves: RFC 9162 §2.1.3.2."""
    if not 0 <= index < size or not _are_hashes((leaf, root, *proof)):
        return False
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            fn, sn = _skip_levels(fn, sn)
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def verify_consistency(
    *, first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the second tree begins with the first: RFC 9162 §2.1.4.2.

    The RFC leaves out the two ends, where only the empty proof is right: a tree is consistent with itself, and every
    tree begins with the one without leaves.
    """
    if not 0 <= first <= second or not _are_hashes((first_root, second_root, *proof)):
        return False
    if first == second:
        return not proof and first_root == second_root
    if first == 0:
        return not proof and first_root == EMPTY_ROOT
    return _leads_to_both(first, second, first_root, second_root, proof)


def _leads_to_both(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    if not proof:
        return False
    path = [first_root, *proof] if first.bit_count() == 1 else list(proof)
    fn, sn = _skip_right_children(first - 1, second - 1)
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            fn, sn = _skip_levels(fn, sn)
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == first_root and sr == second_root


def _skip_right_children(fn: int, sn: int) -> tuple[int, int]:
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _skip_levels(fn: int, sn: int) -> tuple[int, int]:
    """Past the levels at which the last subtree has no neighbour, so that the proof has no hash for them."""
    while fn and not fn & 1:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _siblings(start: int, end: int, size: int, subtree: SubtreeHash) -> tuple[bytes, ...]:
    """The hashes beside the way from the complete subtree over a range up to the root, from the bottom."""
    siblings, low, high = [], 0, size
    while (low, high) != (start, end):
        middle = _split(low, high)
        if start < middle:
            siblings.append(_range_hash(middle, high, subtree))
            high = middle
        else:
            siblings.append(_range_hash(low, middle, subtree))
            low = middle
    return tuple(reversed(siblings))


def _split(start: int, end: int) -> int:
    """Where a range of at least two leaves is parted: after the largest power of two below its length."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def _range_hash(start: int, end: int, subtree: SubtreeHash) -> bytes:
    return _fold([subtree(level, index) for level, index in _cover(start, end)])


def _cover(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The complete subtrees that make up a range, from the left, largest first; `start` is one that `_split` gave."""
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The root above subtrees that stand side by side, the largest first."""
    return reduce(lambda right, left: node_hash(left, right), reversed(hashes))


def _are_hashes(hashes: Sequence[bytes]) -> bool:
    return all(len(each) == HASH_BYTES for each in hashes)


def _require_hashes(hashes: Sequence[bytes]) -> None:
    if set(map(len, hashes)) - {HASH_BYTES}:
        raise ValueError(f"a hash has {HASH_BYTES} bytes")
