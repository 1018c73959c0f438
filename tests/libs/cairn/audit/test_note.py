"""Notes against the vectors of Go's sumdb/note, and against everything that is nearly a note."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from cairn.audit.merkle import EMPTY_ROOT, LARGEST_SIZE, leaf_hash
from cairn.audit.note import (
    LARGEST_NOTE,
    MOST_SIGNATURES,
    BadSignatureError,
    Checkpoint,
    MalformedNoteError,
    NoteError,
    WrongKeyError,
    key_id,
    open_checkpoint,
    open_note,
    sign_checkpoint,
    sign_note,
)

# golang.org/x/mod/sumdb/note, note_test.go: keys made for tests and published with them.
PETER = "PeterNeumann"
PETERS_KEY = Ed25519PrivateKey.from_private_bytes(
    base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:],
)
PETERS_PUBLIC_KEY = Ed25519PublicKey.from_public_bytes(
    base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:],
)
ENOCH = "EnochRoot"
ENOCHS_PUBLIC_KEY = Ed25519PublicKey.from_public_bytes(
    base64.b64decode("ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop")[1:],
)
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETERS_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCHS_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
NOTE = f"{TEXT}\n{PETERS_LINE}"

NAME = "cairn/governance-auditor"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CHECKPOINT = Checkpoint("cairn/registry/0", 1724, leaf_hash(b"a root"))
ROOT = base64.b64encode(CHECKPOINT.root).decode()


def signed_by_key(text: str) -> str:
    return sign_note(text, NAME, KEY)


def checkpoint_in(note: str) -> Checkpoint:
    return open_checkpoint(note, NAME, KEY.public_key())


class TestThePublishedNote:
    def test_has_the_published_key_ids(self) -> None:
        assert key_id(PETER, PETERS_PUBLIC_KEY).hex() == "c74f20a3"
        assert key_id(ENOCH, ENOCHS_PUBLIC_KEY).hex() == "af0cfe78"

    def test_is_signed_to_the_byte(self) -> None:
        assert sign_note(TEXT, PETER, PETERS_KEY) == NOTE

    @pytest.mark.parametrize("others", [("", ENOCHS_LINE), (ENOCHS_LINE, "")], ids=["before", "after"])
    def test_is_opened_by_each_of_its_signers(self, others: tuple[str, str]) -> None:
        note = f"{TEXT}\n{others[0]}{PETERS_LINE}{others[1]}"
        assert open_note(note, PETER, PETERS_PUBLIC_KEY) == TEXT
        assert open_note(note, ENOCH, ENOCHS_PUBLIC_KEY) == TEXT

    def test_is_not_opened_by_another_key(self) -> None:
        with pytest.raises(WrongKeyError):
            open_note(NOTE, ENOCH, ENOCHS_PUBLIC_KEY)

    def test_is_not_opened_by_the_key_under_another_name(self) -> None:
        with pytest.raises(WrongKeyError):
            open_note(NOTE, ENOCH, PETERS_PUBLIC_KEY)

    def test_is_not_opened_by_another_key_under_the_name(self) -> None:
        with pytest.raises(WrongKeyError):
            open_note(NOTE, PETER, ENOCHS_PUBLIC_KEY)

    def test_is_not_believed_with_another_text(self) -> None:
        with pytest.raises(BadSignatureError):
            open_note(NOTE.replace("problem is", "question is"), PETER, PETERS_PUBLIC_KEY)

    @pytest.mark.parametrize(
        "line",
        [
            PETERS_LINE.replace("wJnAM=", "wJnAc="),
            PETERS_LINE[:60] + "ABCD" + PETERS_LINE[60:],
            "— PeterNeumann x08gowAA\n",
        ],
        ids=["changed", "longer", "shorter"],
    )
    def test_is_not_believed_with_another_signature_of_the_key(self, line: str) -> None:
        for note in (f"{TEXT}\n{line}", f"{NOTE}{line}", f"{TEXT}\n{line}{PETERS_LINE}"):
            with pytest.raises(BadSignatureError):
                open_note(note, PETER, PETERS_PUBLIC_KEY)

    def test_may_bear_a_wrong_signature_of_somebody_else(self) -> None:
        assert open_note(f"{NOTE}— EnochRoot rwz+eAAA\n", PETER, PETERS_PUBLIC_KEY) == TEXT


MALFORMED = {
    "nothing": "",
    "a text alone": TEXT,
    "no signature": f"{TEXT}\n",
    "an empty line as signature": f"{TEXT}\n\n",
    "no empty line": f"{TEXT}{PETERS_LINE}",
    "no newline at the end": NOTE[:-1],
    "an empty line at the end": f"{NOTE}\n",
    "something after the signatures": f"{NOTE}Unexpected line.\n",
    "something among the signatures": f"{NOTE}Unexpected line.\n{PETERS_LINE}",
    "a control character": f"\x01{NOTE}",
    "a tab": f"a\t{NOTE}",
    "Windows line ends": NOTE.replace("\n", "\r\n"),
    "half a surrogate": f"\ud800{NOTE}",
    "a hyphen for the dash": NOTE.replace("—", "-"),
    "no dash": NOTE.replace("— ", ""),
    "two spaces": NOTE.replace("— ", "—  "),
    "no name": NOTE.replace(PETER, ""),
    "no name and no space": NOTE.replace(f"{PETER} ", ""),
    "a space in the name": NOTE.replace(PETER, "Peter Neumann"),
    "a strange space in the name": NOTE.replace(PETER, "Peter\u2003Neumann"),
    "a plus in the name": NOTE.replace(PETER, "Peter+Neumann"),
    "no signature after the name": f"{TEXT}\n— PeterNeumann\n",
    "an empty signature": f"{TEXT}\n— PeterNeumann \n",
    "a key id alone": f"{TEXT}\n— PeterNeumann x08gow==\n",
    "something after the signature": NOTE.replace("nAM=", "nAM= again"),
    "base64 without its padding": NOTE.replace("nAM=", "nAM"),
    "base64 with too much padding": NOTE.replace("nAM=", "nAM=="),
    "base64 for addresses": NOTE.replace("/", "_"),
    "base64 with unused bits set": NOTE.replace("nAM=", "nAN="),
    "base64 with other letters": NOTE.replace("nAM=", "nAü="),
    "a malformed line of somebody else": f"{NOTE}— EnochRoot rwz+eB=zm\n",
    "too many signatures": NOTE + PETERS_LINE * MOST_SIGNATURES,
    "too many bytes": "a" * LARGEST_NOTE + NOTE,
}


@pytest.mark.parametrize("note", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_nearly_a_note_is_refused(note: str) -> None:
    with pytest.raises(MalformedNoteError):
        open_note(note, PETER, PETERS_PUBLIC_KEY)


def test_a_note_may_bear_as_many_signatures_as_the_format_asks_for_and_more() -> None:
    assert open_note(NOTE + ENOCHS_LINE * (MOST_SIGNATURES - 1), PETER, PETERS_PUBLIC_KEY) == TEXT


@pytest.mark.parametrize(
    "text", ["\n", "\n\n", "one\n\ntwo\n", "one\n\n", "— an em dash\n", f"quoted\n\n{PETERS_LINE}"]
)
def test_a_text_may_hold_empty_lines_and_what_looks_like_a_signature(text: str) -> None:
    assert open_note(signed_by_key(text), NAME, KEY.public_key()) == text


@pytest.mark.parametrize("text", ["", "no newline", "a\rb\n", "\x00\n", "\udfff\n", "a" * (LARGEST_NOTE - 1) + "\n"])
def test_no_note_is_made_of_what_no_note_can_say(text: str) -> None:
    with pytest.raises(MalformedNoteError):
        signed_by_key(text)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "line\nbreak", "nbsp\u00a0"])
def test_no_note_is_signed_with_what_cannot_be_a_name(name: str) -> None:
    with pytest.raises(MalformedNoteError):
        sign_note(TEXT, name, KEY)


@given(st.text())
def test_whatever_is_not_a_note_is_refused_as_one(note: str) -> None:
    with pytest.raises(MalformedNoteError):
        open_note(note, PETER, PETERS_PUBLIC_KEY)


@given(st.integers(0, len(NOTE) - 1), st.characters())
def test_no_character_of_a_note_can_be_another(at: int, character: str) -> None:
    changed = NOTE[:at] + character + NOTE[at + 1 :]
    if changed != NOTE:
        with pytest.raises(NoteError):
            open_note(changed, PETER, PETERS_PUBLIC_KEY)


class TestACheckpoint:
    def test_is_three_lines_and_a_signature(self) -> None:
        note = sign_checkpoint(CHECKPOINT, NAME, KEY)
        assert note.startswith(f"cairn/registry/0\n1724\n{ROOT}\n\n— {NAME} ")
        assert note.count("\n") == 5

    @given(
        st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=40),
        st.integers(0, LARGEST_SIZE),
        st.binary(min_size=32, max_size=32),
    )
    def test_is_opened_as_it_was_signed(self, origin: str, size: int, root: bytes) -> None:
        checkpoint = Checkpoint(origin, size, root)
        assert checkpoint_in(sign_checkpoint(checkpoint, NAME, KEY)) == checkpoint

    def test_may_be_of_an_empty_log(self) -> None:
        empty = Checkpoint(CHECKPOINT.origin, 0, EMPTY_ROOT)
        assert checkpoint_in(sign_checkpoint(empty, NAME, KEY)) == empty

    def test_tells_a_wrong_key_from_a_bad_signature_and_from_a_bad_form(self) -> None:
        note = sign_checkpoint(CHECKPOINT, NAME, KEY)
        with pytest.raises(WrongKeyError):
            open_checkpoint(note, NAME, PETERS_PUBLIC_KEY)
        with pytest.raises(BadSignatureError):
            checkpoint_in(note.replace("1724", "1723"))
        with pytest.raises(MalformedNoteError):
            checkpoint_in(note[:-1])

    @pytest.mark.parametrize(
        "text",
        [
            "a log\n",
            "a log\n7\n",
            f"\n7\n{ROOT}\n",
            f"a log\n07\n{ROOT}\n",
            f"a log\n-7\n{ROOT}\n",
            f"a log\n+7\n{ROOT}\n",
            f"a log\n7.0\n{ROOT}\n",
            f"a log\n 7\n{ROOT}\n",
            f"a log\n1_000\n{ROOT}\n",
            f"a log\n٧\n{ROOT}\n",
            f"a log\n\n{ROOT}\n",
            f"a log\n{LARGEST_SIZE + 1}\n{ROOT}\n",
            f"a log\n{'9' * 5000}\n{ROOT}\n",
            f"a log\n7\n{ROOT[:-1]}\n",
            f"a log\n7\n{ROOT[:-4]}\n",
            f"a log\n7\nAAAA{ROOT}\n",
            "a log\n7\n" + "A" * 42 + "B=\n",
            f"a log\n7\n{ROOT}\nextension\n",
            f"a log\n7\n{ROOT}\n\n",
        ],
    )
    def test_is_refused_in_any_other_form_even_when_signed(self, text: str) -> None:
        note = signed_by_key(text)
        with pytest.raises(MalformedNoteError):
            checkpoint_in(note)

    @pytest.mark.parametrize(
        ("origin", "size", "root"),
        [("", 1, EMPTY_ROOT), ("a\nb", 1, EMPTY_ROOT), ("a", -1, EMPTY_ROOT), ("a", 2**63, EMPTY_ROOT), ("a", 1, b"")],
    )
    def test_cannot_say_what_no_checkpoint_says(self, origin: str, size: int, root: bytes) -> None:
        with pytest.raises(MalformedNoteError):
            Checkpoint(origin, size, root)

    def test_is_not_signed_with_an_origin_that_no_note_can_hold(self) -> None:
        with pytest.raises(MalformedNoteError):
            sign_checkpoint(Checkpoint("a\rb", 1, EMPTY_ROOT), NAME, KEY)
