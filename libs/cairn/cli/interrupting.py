"""Ctrl-C and SIGTERM for commands that keep processes running."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cairn.local.stack import Stack


def cancel_on_signals(stack: "Stack") -> None:
    """Have Ctrl-C or SIGTERM cancel this task, which then stops the stack in order; the next one kills what is left."""
    import asyncio
    import signal

    task = asyncio.current_task()
    assert task

    def interrupt() -> None:
        if task.cancelling():
            stack.kill_now()
        else:
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
