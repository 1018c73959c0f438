"""`python -m benchmarks [NAME …]`: run all benchmarks, or those named."""

import asyncio
import importlib
import sys
import tempfile
from pathlib import Path

from cairn.local import LocalKafka

NAMES = ("service", "subscribing", "publishing", "gateway", "inference", "stack")


async def main(names: list[str]) -> None:
    """Run the benchmarks one after another on a Kafka of their own, started as in production."""
    with tempfile.TemporaryDirectory(prefix="cairn-bench-") as folder:
        directory = Path(folder)
        async with LocalKafka(directory / "kafka") as kafka:
            for name in names or NAMES:
                print(f"\n== {name}", flush=True)
                module = importlib.import_module(f"benchmarks.{name}")
                await module.run(kafka.bootstrap_servers, directory / name)


if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - set(NAMES)
    if unknown:
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}")
    asyncio.run(main(sys.argv[1:]))
