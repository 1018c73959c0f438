"""An application that acts on promotions, as a process to be killed.

`python acting.py SERVERS INSTALLATION STORE OUTSIDE [GROUP]`

It keeps its effects in the transaction that it is lent, and one line each in a file outside of it, written before.
"""

import sqlite3
import sys
from pathlib import Path

from cairn.events import ModelPromoted
from cairn.subscriber import Received, Subscriber

TABLE = "CREATE TABLE IF NOT EXISTS effects (model TEXT, generation INTEGER, id TEXT, process TEXT)"


def main(servers: str, installation: str, store: str, outside: str, group: str | None = None) -> None:
    app = Subscriber(servers, installation=installation, store=store, start="beginning", group=group)
    lines = Path(outside).open("a", buffering=1)  # noqa: SIM115 # it is to be killed
    database = sqlite3.connect(store, timeout=10)
    database.execute(TABLE)
    database.close()

    @app.on(ModelPromoted)
    async def act(event: ModelPromoted, received: Received[ModelPromoted]) -> None:
        lines.write(f"{received.id} {'again' if received.redelivered else 'first'}\n")
        received.transaction.execute(
            "INSERT INTO effects VALUES (?, ?, ?, ?)", (event.model.name, event.generation, received.id, outside)
        )

    app.run_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
