"""Acts on promotions, each effectively once: `python examples/subscribe.py 127.0.0.1:9092 --keys .cairn/trust.json`."""

import argparse

from cairn.events import ModelPromoted
from cairn.subscriber import Received, Subscriber

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("servers", help="Kafka, host:port")
parser.add_argument("--installation", default="cairn")
parser.add_argument("--store", default="promotions.sqlite", help="keeps how far we are, and what we made of it")
parser.add_argument("--keys", help="a trust file: believe only what is signed, and receipts that hold")
options = parser.parse_args()

app = Subscriber(
    options.servers,
    installation=options.installation,
    store=options.store,
    start="beginning",
    verify=options.keys is not None,
    keys=options.keys,
)


@app.on(ModelPromoted)
async def use(event: ModelPromoted, received: Received[ModelPromoted]) -> None:
    """Remember where the champion answers; the row is there exactly once, whatever is killed."""
    received.transaction.execute("CREATE TABLE IF NOT EXISTS live (model PRIMARY KEY, version, endpoint)")
    received.transaction.execute(
        "INSERT OR REPLACE INTO live VALUES (?, ?, ?)", (event.model.name, event.model.version, event.endpoint)
    )
    print(f"{event.model.name} version {event.model.version} is live: {event.endpoint}", flush=True)


if __name__ == "__main__":
    app.run_forever()
