"""What ends a command early, and the exit code that it ends with."""

CHECK_FAILED = 1
USAGE = 2
OUT_OF_REACH = 3
INTERRUPTED = 130


class CheckFailed(Exception):
    """What was asked for was looked at, and the answer is no."""


class WrongUsage(Exception):
    """What was written on the command line, or in a file that it names, cannot be meant."""


class OutOfReach(Exception):
    """Something that the command needs does not answer."""


def explain(error: Exception) -> tuple[int, str]:
    """The exit code for an error and what to say to a person."""
    own = {CheckFailed: CHECK_FAILED, WrongUsage: USAGE, OutOfReach: OUT_OF_REACH}
    return own.get(type(error)) or _code_of(error), _text_of(error)


def _code_of(error: Exception) -> int:
    from cairn.broker import BrokerUnreachable, TopicRefused
    from cairn.context import ContextError, NotRunning
    from cairn.declaration import DeclarationError
    from cairn.events.signing import TrustError
    from cairn.holding import HomeHeld
    from cairn.local.errors import Missing, StartFailed
    from cairn.objects.errors import AccessRefused, StoreUnreachable
    from cairn.schemas.revisions import HistoryMissing

    home = NotRunning | HomeHeld | HistoryMissing | Missing | StartFailed
    if isinstance(error, home | BrokerUnreachable | TopicRefused | StoreUnreachable | AccessRefused):
        return OUT_OF_REACH
    return USAGE if isinstance(error, ContextError | DeclarationError | TrustError) else CHECK_FAILED


def _text_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    # Our own errors speak for themselves; of a stranger's, its kind is half of what there is to know.
    ours = type(error).__module__.startswith("cairn.")
    return str(error) if ours else f"{type(error).__name__}: {error} (CAIRN_DEBUG=1 shows where)"
