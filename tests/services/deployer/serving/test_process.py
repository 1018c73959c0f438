import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
import numpy as np
import pyarrow as pa
import pytest
from tests.libs.cairn.installations import make_topics
from tests.libs.modelkit.samples import spec_of, written
from tests.services.deployer.made import LOANS, event_ref

from cairn.context import Context
from cairn.events import (
    Installation,
    PredictionsServed,
    ReplicaActivated,
    ReplicaFailed,
    ReplicaReported,
    ReplicaStopped,
    RolloutStarted,
    Signer,
    Trust,
    TrustedKey,
)
from cairn.events.codec import Heard
from cairn.events.values import Arm, ModelRef, ObjectRef, Reason, Route
from cairn.local import LocalKafka
from cairn.objects import open_store
from cairn.publisher import Publisher
from cairn.subscriber import read_log
from modelkit import children
from modelkit.package import MANIFEST, load_package

TOPICS = ("deployment", "serving", "predictions")
HEAVY = ("sqlmodel", "sqlalchemy", "faststream", "chassis", "sklearn", "skops", "numpy", "pyarrow", "scipy", "minio")


def test_the_process_itself_loads_nothing_heavy():
    code = "import sys, deployer.serving.process; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert "deployer" in run.stdout.split()
    assert set(run.stdout.split()) & set(HEAVY) == set()


def test_an_environment_that_is_not_complete_is_named():
    run = subprocess.run(
        [sys.executable, "-P", "-m", "deployer.serving"], capture_output=True, text=True, env={}, check=False
    )
    assert run.returncode == 2
    assert "CAIRN_OBJECTS" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """A tiny model of loans."""
    directory = tmp_path_factory.mktemp("package")
    chance = np.random.default_rng(7)
    amount, purpose = chance.normal(10_000, 3000, 120), chance.choice(["car", "home"], 120)
    table = pa.table(
        {
            "amount": amount,
            "months": chance.integers(6, 60, 120),
            "purpose": purpose,
            "defaulted": (amount + 2000 * (purpose == "home") > 11_000).astype(int),
        }
    )
    declaration = {
        "model": LOANS,
        "owner": "credit",
        "dataset": "loans",
        "target": "defaulted",
        "search": {"estimators": ["logistic_regression"], "max_trials": 1, "folds": 2},
        "monitoring": {"drift": {"bins": 2}},
    }
    files = [written(table, directory / "data.csv")]
    children.train(spec_of(files, declaration, output_directory=str(directory)), lambda *_: None)
    return directory


class Town:
    """An installation on the Kafka that tests share, with the keys of the deployer and of serving."""

    def __init__(self, servers: str, home: Path) -> None:
        installation = Installation(f"test-{secrets.token_hex(6)}")
        deployer, serving = Signer.generate("deployer"), Signer.generate("serving")
        keys = (
            _key(deployer, installation.source("deployer"), ("deployment",)),
            _key(serving, installation.source("serving") + "/*", ("serving", "predictions")),
        )
        objects = str(home / "objects")
        self.home = home
        self.context = Context(
            home, installation, servers, objects_url=objects, signer=deployer, trust=Trust(keys=keys)
        )
        serving.save(home / "serving.key")
        self.context.trust.save(home / "trust.json")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "CAIRN_INSTALLATION": self.context.installation.name,
            "KAFKA_BOOTSTRAP_SERVERS": self.context.bootstrap_servers,
            "CAIRN_OBJECTS": self.context.objects_url,
            "CAIRN_KEY_FILE": str(self.home / "serving.key"),
            "CAIRN_TRUST_FILE": str(self.home / "trust.json"),
            "CAIRN_PORT": str(self.port),
            "CAIRN_REPLICA": "serving-7",
        }

    async def say(self, *events: RolloutStarted, signer: Signer | None = None) -> None:
        async with Publisher(
            self.context if signer is None else replace(self.context, signer=signer, trust=None)
        ) as one:
            for event in events:
                await one.publish(event, source=self.context.installation.source("deployer"))

    async def heard(self, topic: str) -> list[Heard]:
        found = [entry.heard async for entry in read_log(self.context, [topic])]
        assert all(isinstance(one, Heard) and one.signed for one in found)
        return found

    @asynccontextmanager
    async def serving(self):
        """A process that serves here, until SIGTERM; with a client of it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "deployer.serving", env=self.environment, cwd=self.home
        )
        try:
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=30) as client:
                yield client
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):  # by its own deadlines it takes 12 s at most
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _key(signer: Signer, source: str, topics: tuple[str, ...]) -> TrustedKey:
    return TrustedKey(
        keyid=signer.keyid,
        public_key=signer.public_text,
        principal=f"service/{signer.keyid}",
        sources=(source,),
        topics=topics,
    )


@pytest.fixture
async def town(kafka, tmp_path) -> Town:
    town = Town(kafka, tmp_path)
    await make_topics(kafka, town.context.installation, TOPICS)
    return town


def started(revision: int, version: int, package: ObjectRef, profile: ObjectRef) -> RolloutStarted:
    model = ModelRef(name=LOANS, version=version, digest=package.digest)
    arm = Arm(name=f"v{version}", role="champion", model=model, package=package, profile=profile, weight_ratio=1)
    return RolloutStarted(
        rollout_id="rollout",
        kind="promotion",
        model=model,
        strategy="all-at-once",
        step=0,
        route=Route(revision=revision, arms=(arm,)),
        endpoint="http://127.0.0.1:8710",
        approval=event_ref("approval"),
        reason=Reason(code="approved", text="Approved."),
    )


def stored(town: Town, package: Path) -> tuple[ObjectRef, ObjectRef]:
    """The package in the object store: its manifest and its profile."""
    objects = open_store(town.context.objects_url)
    for name in json.loads((package / MANIFEST).read_bytes())["files"]:
        objects.put_file(package / name, "application/octet-stream")
    return tuple(objects.put_file(package / name, "application/json") for name in (MANIFEST, "profile.json"))


async def until(condition, seconds: float = 60):
    async with asyncio.timeout(seconds):
        while True:
            try:
                found = await condition()
            except httpx2.TransportError:
                found = None
            if found:
                return found
            await asyncio.sleep(0.05)


async def ready(client) -> bool:
    return (await client.get("/readyz")).status_code == 200


ROW = {"amount": [12_500.5], "months": [36], "purpose": ["home"]}


async def infer(client):
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": cells} for name, cells in ROW.items()]
    content = {"id": "app-1", "inputs": inputs, "parameters": {"entity": "customer-1"}}
    return await client.post(f"/v2/models/{LOANS}/infer", json=content)


def scoring_children() -> list[int]:
    """Processes in sessions of their own, two generations below this one: those that hold models."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(") ")
        except OSError:
            continue
        parents[int(name.split(" ")[0])] = (int(rest.split()[1]), int(rest.split()[3]))
    mine = {pid for pid, (parent, _) in parents.items() if parent == os.getpid()}
    below = {pid for pid, (parent, _) in parents.items() if parent in mine}
    return [pid for pid, (parent, session) in parents.items() if parent in below and session == pid]


async def test_a_prediction_is_answered_and_is_in_the_log_with_a_valid_signature(town, package):
    await town.say(started(1, 1, *stored(town, package)))
    async with town.serving() as client:
        await until(lambda: ready(client))
        answer = await infer(client)
        assert answer.status_code == 200, answer.text
        outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}

    files = json.loads((package / MANIFEST).read_bytes())["files"]
    predictor = load_package(package / MANIFEST, {name: package / name for name in files})
    (score,) = predictor.scores([[cells[0] for cells in ROW.values()]])
    assert outputs["score"] == [score]
    assert outputs["label"] == [predictor.answer(score)]
    assert answer.headers["cairn-route-revision"] == "1"

    (heard,) = await town.heard("predictions")
    assert isinstance(heard.facts, PredictionsServed)
    (row,) = heard.facts.rows
    assert ([row.prediction_id], row.request_id, row.entity) == (outputs["prediction_id"], "app-1", "customer-1")
    assert (row.output.score, row.features) == (score, (12_500.5, 36, "home"))
    assert heard.message.record.key == f"model/{LOANS}/serving-7".encode()

    told = [one.facts for one in await town.heard("serving")]
    assert isinstance(told[-1], ReplicaStopped)
    assert [one.route_revision for one in told if isinstance(one, ReplicaActivated)] == [1]
    reports = [one for one in told if isinstance(one, ReplicaReported)]
    assert [(one.arm, one.answered, one.failed) for one in reports[-1].answers] == [("v1", 1, 0)]
    assert {one.message.envelope.causationid.rpartition("#")[2] for one in await town.heard("serving")} != {""}


async def test_a_running_replica_takes_new_routes_over_and_goes_on_when_its_model_dies_or_cannot_be_loaded(
    town, package
):
    manifest, profile = stored(town, package)
    async with town.serving() as client:
        await until(lambda: ready(client))
        assert (await infer(client)).status_code == 404

        await town.say(started(1, 1, manifest, profile))
        await until(lambda: answered_by(client, "1"))

        (child,) = scoring_children()
        os.killpg(child, signal.SIGKILL)  # the first of its session only guards the one that works
        await until(lambda: answered_by(client, "1"))
        assert scoring_children() != [child]

        other = open_store(town.context.objects_url).put_bytes(b"{}", "application/json")
        await town.say(started(2, 2, other, profile))
        await until(lambda: told_failure(town))
        assert await answered_by(client, "1")

        stranger = Signer.generate("deployer")
        await town.say(started(9, 9, other, profile), signer=stranger)
        await town.say(started(3, 3, manifest, profile))
        await until(lambda: answered_by(client, "3"))
    assert scoring_children() == []


async def test_a_start_whose_models_die_while_they_load_is_ready_only_when_they_answer_or_that_was_told(town, package):
    await town.say(started(1, 1, *stored(town, package)))
    killed = []
    async with town.serving() as client:
        await until(lambda: is_up(client))
        while len(killed) < 3:
            killed += [child for child in scoring_children() if kill(child)]
            assert (await infer(client)).status_code != 404
        await until(lambda: ready(client))
        assert await answered_by(client, "1") or await told_failure(town)
        await until(lambda: answered_by(client, "1"))


@pytest.fixture
async def own_kafka(tmp_path):
    """A broker that the test may kill."""
    async with LocalKafka(tmp_path / "kafka", fast_start=True) as server:
        yield server


@pytest.fixture
async def own_town(own_kafka, tmp_path) -> Town:
    town = Town(own_kafka.bootstrap_servers, tmp_path)
    await make_topics(own_kafka.bootstrap_servers, town.context.installation, TOPICS)
    return town


async def test_while_kafka_is_away_a_replica_is_not_ready_and_afterwards_it_hears_what_was_told(
    own_kafka, own_town, package
):
    files = stored(own_town, package)
    await own_town.say(started(1, 1, *files))
    async with own_town.serving() as client:
        await until(lambda: ready(client))
        await own_kafka.kill()
        await until(lambda: unready(client))
        assert (await infer(client)).status_code == 503
        await own_kafka.start()
        await until(lambda: ready(client))
        await own_town.say(started(2, 2, *files))
        await until(lambda: answered_by(client, "2"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_replica_ends_in_order_also_when_kafka_died_or_hangs(own_kafka, own_town, package, number):
    await own_town.say(started(1, 1, *stored(own_town, package)))
    async with own_town.serving() as client:
        await until(lambda: ready(client))
        os.kill(own_kafka._child.pid, number)
        callers = [asyncio.create_task(call(client.base_url, [], set())) for _ in range(16)]
        await asyncio.sleep(1)
    await asyncio.gather(*callers)
    await own_kafka.kill()


async def unready(client) -> bool:
    return (await client.get("/readyz")).status_code == 503


async def test_what_was_answered_under_load_before_the_end_is_in_the_log_and_the_farewell_comes_last(town, package):
    await town.say(started(1, 1, *stored(town, package)))
    answered, statuses = [], set()
    async with town.serving() as client:
        await until(lambda: ready(client))
        callers = [asyncio.create_task(call(client.base_url, answered, statuses)) for _ in range(16)]
        while len(answered) < 100:
            await asyncio.sleep(0.01)
    await asyncio.gather(*callers)

    assert statuses <= {200, 503}
    logged = [row.prediction_id for heard in await town.heard("predictions") for row in heard.facts.rows]
    assert sorted(answered) == sorted(logged)
    told = [one.facts for one in await town.heard("serving")]
    assert isinstance(told[-1], ReplicaStopped)
    assert told[-2].answers[0].answered == len(logged)


async def call(url, answered, statuses) -> None:
    """Ask for predictions until nobody answers any longer."""
    async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
        while True:
            try:
                answer = await infer(client)
            except httpx2.TransportError:
                return
            statuses.add(answer.status_code)
            if answer.status_code == 200:
                answered += prediction_ids(answer)


def prediction_ids(answer) -> list[str]:
    return next(output["data"] for output in answer.json()["outputs"] if output["name"] == "prediction_id")


async def is_up(client) -> bool:
    return (await client.get("/healthz")).status_code == 200


def kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


async def answered_by(client, version: str) -> bool:
    answer = await infer(client)
    return answer.status_code == 200 and answer.json()["model_version"] == version


async def told_failure(town) -> bool:
    return any(isinstance(one.facts, ReplicaFailed) for one in await town.heard("serving"))
