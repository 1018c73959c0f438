"""The tree against the published vectors, against its definition, and against a prover that lies."""

from collections.abc import Callable
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.audit.merkle import (
    EMPTY_ROOT,
    LARGEST_SIZE,
    Frontier,
    SubtreeHash,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_at,
    verify_consistency,
    verify_inclusion,
)

# The tree that the tests of Certificate Transparency have shared since 2013: eight leaves, the root at each size.
PUBLISHED_ENTRIES = [
    bytes.fromhex(entry)
    for entry in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
PUBLISHED_ROOTS = [
    bytes.fromhex(root)
    for root in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
PUBLISHED_INCLUSION = {
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
}
PUBLISHED_CONSISTENCY = {
    (1, 1): (),
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}

LEAVES = tuple(leaf_hash(b"stone %d" % number) for number in range(200))
SIZES = st.integers(0, len(LEAVES))


def defined_root(leaves: tuple[bytes, ...]) -> bytes:
    """MTH as RFC 6962 §2.1 defines it."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    half = max(2**power for power in range(64) if 2**power < len(leaves))
    return node_hash(defined_root(leaves[:half]), defined_root(leaves[half:]))


@cache
def root_of(size: int) -> bytes:
    return defined_root(LEAVES[:size])


def subtrees_of(leaves: tuple[bytes, ...]) -> SubtreeHash:
    _, runs = Frontier().grow(leaves)
    hashes = {(run.level, run.first + nth): each for run in runs for nth, each in enumerate(run.hashes)}
    return lambda level, index: hashes[level, index] if level else leaves[index]


SUBTREE = subtrees_of(LEAVES)


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    """An index, and the size of a tree that has it."""
    size = draw(st.integers(1, len(LEAVES)))
    return draw(st.integers(0, size - 1)), size


@st.composite
def growths(draw: st.DrawFn) -> tuple[int, int]:
    """Two sizes between which there is something to prove."""
    second = draw(st.integers(2, len(LEAVES)))
    return draw(st.integers(1, second - 1)), second


def flipped(octets: bytes, bit: int) -> bytes:
    return (int.from_bytes(octets, "big") ^ 1 << bit).to_bytes(len(octets), "big")


Tampering = Callable[[tuple[bytes, ...], int], tuple[bytes, ...]]


def one_dropped(proof: tuple[bytes, ...], at: int) -> tuple[bytes, ...]:
    return proof[:at] + proof[at + 1 :]


def one_added(proof: tuple[bytes, ...], at: int) -> tuple[bytes, ...]:
    return (*proof[:at], LEAVES[0], *proof[at:])


def one_flipped(proof: tuple[bytes, ...], at: int) -> tuple[bytes, ...]:
    return (*proof[:at], flipped(proof[at], 100), *proof[at + 1 :])


def one_cut_short(proof: tuple[bytes, ...], at: int) -> tuple[bytes, ...]:
    return (*proof[:at], proof[at][:-1], *proof[at + 1 :])


TAMPERINGS = pytest.mark.parametrize("tampering", [one_dropped, one_added, one_flipped, one_cut_short])


def includes(index: int, size: int, proof: tuple[bytes, ...], leaf: bytes | None = None) -> bool:
    return verify_inclusion(leaf or LEAVES[index], index=index, size=size, proof=proof, root=root_of(size))


def is_consistent(first: int, second: int, proof: tuple[bytes, ...]) -> bool:
    roots = {"first_root": root_of(first), "second_root": root_of(second)}
    return verify_consistency(first=first, second=second, proof=proof, **roots)


class TestThePublishedTree:
    leaves = tuple(map(leaf_hash, PUBLISHED_ENTRIES))
    subtree = staticmethod(subtrees_of(leaves))

    @pytest.mark.parametrize("size", range(9))
    def test_has_the_published_root_at_each_size(self, size: int) -> None:
        assert Frontier().extend(self.leaves[:size]).root == PUBLISHED_ROOTS[size]
        assert root_at(size, self.subtree) == PUBLISHED_ROOTS[size]

    @pytest.mark.parametrize(("index", "size"), PUBLISHED_INCLUSION)
    def test_has_the_published_proofs_of_inclusion(self, index: int, size: int) -> None:
        proof = inclusion_proof(index, size, self.subtree)
        assert [each.hex() for each in proof] == list(PUBLISHED_INCLUSION[index, size])
        root = PUBLISHED_ROOTS[size]
        assert verify_inclusion(self.leaves[index], index=index, size=size, proof=proof, root=root)

    @pytest.mark.parametrize(("first", "second"), PUBLISHED_CONSISTENCY)
    def test_has_the_published_proofs_of_consistency(self, first: int, second: int) -> None:
        proof = consistency_proof(first, second, self.subtree)
        assert [each.hex() for each in proof] == list(PUBLISHED_CONSISTENCY[first, second])
        roots = {"first_root": PUBLISHED_ROOTS[first], "second_root": PUBLISHED_ROOTS[second]}
        assert verify_consistency(first=first, second=second, proof=proof, **roots)


class TestAFrontier:
    @given(SIZES)
    def test_has_the_root_that_the_definition_gives(self, size: int) -> None:
        assert Frontier().extend(LEAVES[:size]).root == root_of(size)

    @given(SIZES, SIZES)
    def test_comes_to_the_same_in_one_step_or_in_many(self, one: int, other: int) -> None:
        first, second = sorted((one, other))
        by_one = Frontier().extend(LEAVES[:first])
        for leaf in LEAVES[first:second]:
            by_one = by_one.append(leaf)
        assert Frontier().extend(LEAVES[:first]).extend(LEAVES[first:second]) == by_one

    @given(SIZES, SIZES)
    def test_tells_each_subtree_once_when_it_is_complete(self, one: int, other: int) -> None:
        first, second = sorted((one, other))
        before, runs_before = Frontier().grow(LEAVES[:first])
        _, runs_after = before.grow(LEAVES[first:second])
        told = [(run.level, run.first + nth) for run in runs_before + runs_after for nth in range(len(run.hashes))]
        assert sorted(told) == [(level, index) for level in range(1, 9) for index in range(second >> level)]
        hashes = [each for run in runs_after for each in run.hashes]
        names = [(run.level, run.first + nth) for run in runs_after for nth in range(len(run.hashes))]
        assert hashes == [SUBTREE(*name) for name in names]

    @given(SIZES)
    def test_survives_the_way_to_bytes_and_back(self, size: int) -> None:
        frontier = Frontier().extend(LEAVES[:size])
        assert Frontier.from_bytes(frontier.to_bytes()) == frontier

    @given(SIZES, SIZES)
    def test_goes_on_growing_after_it_was_stored(self, one: int, other: int) -> None:
        first, second = sorted((one, other))
        stored = Frontier().extend(LEAVES[:first]).to_bytes()
        assert Frontier.from_bytes(stored).extend(LEAVES[first:second]).root == root_of(second)

    @pytest.mark.parametrize(
        "stored",
        [
            b"",
            bytes(7),
            bytes(9),
            Frontier().extend(LEAVES[:5]).to_bytes()[:-1],
            Frontier().extend(LEAVES[:5]).to_bytes() + b"\0",
            Frontier().extend(LEAVES[:5]).to_bytes() + bytes(32),
            b"\x80" + bytes(7) + bytes(32),
        ],
        ids=["nothing", "half a size", "an octet too many", "cut", "longer", "a hash too many", "too large"],
    )
    def test_is_not_read_from_other_bytes(self, stored: bytes) -> None:
        with pytest.raises(ValueError):
            Frontier.from_bytes(stored)

    def test_refuses_what_is_not_a_hash(self) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            Frontier().append(b"a whole entry")
        with pytest.raises(ValueError, match="32 bytes"):
            Frontier().extend((b"a whole entry", LEAVES[0]))
        with pytest.raises(ValueError, match="32 bytes"):
            Frontier(1, (b"short",))

    def test_ends_where_offsets_end(self) -> None:
        with pytest.raises(ValueError, match="cannot be"):
            Frontier(LARGEST_SIZE, LEAVES[:63]).append(LEAVES[0])


class TestAProofOfInclusion:
    @given(places())
    def test_verifies(self, place: tuple[int, int]) -> None:
        assert includes(*place, inclusion_proof(*place, SUBTREE))

    @given(places(), st.integers(-1, len(LEAVES)))
    def test_holds_for_no_other_index(self, place: tuple[int, int], other: int) -> None:
        index, size = place
        proof = inclusion_proof(index, size, SUBTREE)
        verified = verify_inclusion(LEAVES[index], index=other, size=size, proof=proof, root=root_of(size))
        assert verified == (other == index)

    @given(places(), st.integers(0, 255))
    def test_holds_for_no_other_leaf(self, place: tuple[int, int], bit: int) -> None:
        proof = inclusion_proof(*place, SUBTREE)
        assert not includes(*place, proof, leaf=flipped(LEAVES[place[0]], bit))

    @given(places(), st.integers(0, 255))
    def test_holds_under_no_other_root(self, place: tuple[int, int], bit: int) -> None:
        index, size = place
        proof = inclusion_proof(index, size, SUBTREE)
        root = flipped(root_of(size), bit)
        assert not verify_inclusion(LEAVES[index], index=index, size=size, proof=proof, root=root)

    @TAMPERINGS
    @given(places().filter(lambda place: place[1] > 1), st.data())
    def test_is_rejected_when_tampered_with(
        self, tampering: Tampering, place: tuple[int, int], data: st.DataObject
    ) -> None:
        proof = inclusion_proof(*place, SUBTREE)
        assert not includes(*place, tampering(proof, data.draw(st.integers(0, len(proof) - 1))))

    @given(places())
    def test_is_rejected_with_a_hash_too_many_at_its_end(self, place: tuple[int, int]) -> None:
        proof = inclusion_proof(*place, SUBTREE)
        assert not includes(*place, (*proof, LEAVES[0]))

    def test_is_empty_for_the_only_leaf(self) -> None:
        assert inclusion_proof(0, 1, SUBTREE) == ()
        assert includes(0, 1, ())

    def test_does_not_bind_the_size_so_that_sizes_must_come_from_checkpoints(self) -> None:
        proof = inclusion_proof(0, 7, SUBTREE)
        assert verify_inclusion(LEAVES[0], index=0, size=8, proof=proof, root=root_of(7))

    def test_of_a_lower_tree_does_not_hold_in_a_higher_one_nor_the_other_way(self) -> None:
        low, high = inclusion_proof(0, 4, SUBTREE), inclusion_proof(0, 8, SUBTREE)
        assert not verify_inclusion(LEAVES[0], index=0, size=8, proof=low, root=root_of(4))
        assert not verify_inclusion(LEAVES[0], index=0, size=4, proof=high, root=root_of(8))

    def test_cannot_pass_the_second_leaf_off_as_the_only_one(self) -> None:
        assert not verify_inclusion(LEAVES[1], index=0, size=1, proof=(LEAVES[0],), root=root_of(2))

    def test_is_about_hashes_alone(self) -> None:
        assert not verify_inclusion(b"entry", index=0, size=1, proof=(), root=b"entry")

    @pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0)])
    def test_is_not_made_of_a_leaf_outside_the_tree(self, index: int, size: int) -> None:
        with pytest.raises(ValueError):
            inclusion_proof(index, size, SUBTREE)


class TestAProofOfConsistency:
    @given(growths())
    def test_verifies(self, growth: tuple[int, int]) -> None:
        assert is_consistent(*growth, consistency_proof(*growth, SUBTREE))

    @given(growths(), st.integers(0, 255))
    def test_holds_for_no_other_first_root(self, growth: tuple[int, int], bit: int) -> None:
        first, second = growth
        proof = consistency_proof(first, second, SUBTREE)
        roots = {"first_root": flipped(root_of(first), bit), "second_root": root_of(second)}
        assert not verify_consistency(first=first, second=second, proof=proof, **roots)

    @given(growths(), st.integers(0, 255))
    def test_holds_for_no_other_second_root(self, growth: tuple[int, int], bit: int) -> None:
        first, second = growth
        proof = consistency_proof(first, second, SUBTREE)
        roots = {"first_root": root_of(first), "second_root": flipped(root_of(second), bit)}
        assert not verify_consistency(first=first, second=second, proof=proof, **roots)

    @TAMPERINGS
    @given(growths(), st.data())
    def test_is_rejected_when_tampered_with(
        self, tampering: Tampering, growth: tuple[int, int], data: st.DataObject
    ) -> None:
        proof = consistency_proof(*growth, SUBTREE)
        assert not is_consistent(*growth, tampering(proof, data.draw(st.integers(0, len(proof) - 1))))

    @given(growths())
    def test_is_rejected_with_a_hash_too_many_at_its_end(self, growth: tuple[int, int]) -> None:
        proof = consistency_proof(*growth, SUBTREE)
        assert not is_consistent(*growth, (*proof, LEAVES[0]))

    @given(growths(), st.data())
    def test_cannot_be_given_for_a_history_that_was_rewritten(
        self, growth: tuple[int, int], data: st.DataObject
    ) -> None:
        first, second = growth
        changed = data.draw(st.integers(0, first - 1))
        rewritten = (*LEAVES[:changed], leaf_hash(b"another stone"), *LEAVES[changed + 1 : second])
        proof = consistency_proof(first, second, subtrees_of(rewritten))
        roots = {"first_root": root_of(first), "second_root": defined_root(rewritten)}
        assert not verify_consistency(first=first, second=second, proof=proof, **roots)

    @given(SIZES)
    def test_is_empty_from_a_tree_to_itself(self, size: int) -> None:
        assert consistency_proof(size, size, SUBTREE) == ()
        assert is_consistent(size, size, ())
        assert not is_consistent(size, size, (LEAVES[0],))

    @given(SIZES.filter(bool))
    def test_is_empty_from_the_tree_without_leaves(self, size: int) -> None:
        assert consistency_proof(0, size, SUBTREE) == ()
        assert is_consistent(0, size, ())
        assert not is_consistent(0, size, (LEAVES[0],))
        roots = {"first_root": LEAVES[0], "second_root": root_of(size)}
        assert not verify_consistency(first=0, second=size, proof=(), **roots)

    @given(growths())
    def test_cannot_be_left_out(self, growth: tuple[int, int]) -> None:
        assert not is_consistent(*growth, ())

    @given(growths())
    def test_does_not_lead_back(self, growth: tuple[int, int]) -> None:
        first, second = growth
        assert not is_consistent(second, first, consistency_proof(first, second, SUBTREE))
        with pytest.raises(ValueError):
            consistency_proof(second, first, SUBTREE)

    def test_to_a_lower_tree_does_not_hold_to_a_higher_one_nor_the_other_way(self) -> None:
        low, high = consistency_proof(2, 4, SUBTREE), consistency_proof(2, 8, SUBTREE)
        to_low = {"first_root": root_of(2), "second_root": root_of(4)}
        to_high = {"first_root": root_of(2), "second_root": root_of(8)}
        assert not verify_consistency(first=2, second=8, proof=low, **to_low)
        assert not verify_consistency(first=2, second=4, proof=high, **to_high)

    def test_cannot_be_forged_for_a_tree_that_shrinks(self) -> None:
        one, two = LEAVES[:2]  # these hashes satisfy the RFC's loop: it takes for granted that trees grow
        roots = {"first_root": one, "second_root": node_hash(one, two)}
        assert not verify_consistency(first=3, second=2, proof=(one, two), **roots)


class TestATreeAsLargeAsAPartitionCanBe:
    """All its leaves are the same, so that each level has one hash and the tree need not be kept."""

    levels: tuple[bytes, ...] = (LEAVES[0],)
    for _ in range(62):
        levels = (*levels, node_hash(levels[-1], levels[-1]))

    def subtree(self, level: int, _: int) -> bytes:
        return self.levels[level]

    @given(st.integers(1, LARGEST_SIZE), st.data())
    def test_has_proofs_of_inclusion(self, size: int, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, size - 1))
        proof = inclusion_proof(index, size, self.subtree)
        root = root_at(size, self.subtree)
        assert len(proof) <= 63
        assert verify_inclusion(LEAVES[0], index=index, size=size, proof=proof, root=root)

    @given(st.integers(1, LARGEST_SIZE), st.data())
    def test_has_proofs_of_consistency(self, second: int, data: st.DataObject) -> None:
        first = data.draw(st.integers(0, second))
        proof = consistency_proof(first, second, self.subtree)
        roots = {"first_root": root_at(first, self.subtree), "second_root": root_at(second, self.subtree)}
        assert len(proof) <= 64
        assert verify_consistency(first=first, second=second, proof=proof, **roots)


def test_two_trees_of_one_size_are_consistent_only_when_they_are_one() -> None:
    roots = {"first_root": root_of(5), "second_root": root_of(6)}
    assert not verify_consistency(first=5, second=5, proof=(), **roots)


def test_the_root_of_any_earlier_size_can_be_had_again() -> None:
    assert [root_at(size, SUBTREE) for size in range(len(LEAVES) + 1)] == list(map(root_of, range(len(LEAVES) + 1)))


def test_the_tree_without_leaves_has_the_hash_of_nothing_for_its_root() -> None:
    assert Frontier().root == EMPTY_ROOT == sha256(b"").digest()


def test_an_entry_that_looks_like_a_node_has_another_hash() -> None:
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != node_hash(LEAVES[0], LEAVES[1])
