"""The one place where errors become messages and exit codes: nobody sees a traceback who did not ask for one."""

import logging
import os
import sys
from collections.abc import Callable

from cairn.cli.faults import INTERRUPTED, explain
from cairn.cli.output import ClosedPipe, open_closed_streams, say, silence


def guarded(call: Callable[[], object]) -> int:
    """Run a command to its end and answer with its exit code."""
    open_closed_streams()
    for name in ("aiokafka", "asyncio"):  # they log what the command says in better words
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        code = _exit_code(call)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ClosedPipe, BrokenPipeError):  # whoever read the output has had enough of it
        silence()
        return 0
    except Exception as error:
        if os.environ.get("CAIRN_DEBUG"):
            raise
        code, text = explain(error)
        say(text)
    return code


def _exit_code(call: Callable[[], object]) -> int:
    try:
        call()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # so the framework ends when nobody reads its help
            raise ClosedPipe from None
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
