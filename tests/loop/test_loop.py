"""The six services in one process: the test carries outbox rows to handlers and plays the serving process."""

import math
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path

import pytest
from tests.e2e.toy import DECLARATION, toy_parts
from tests.libs.chassis.memory import rebuild
from tests.loop.refold import refold

from cairn.demo.data import TARGET, Sample, as_csv
from cairn.events import (
    DatasetPublished,
    DeclarationSubmitted,
    DriftDetected,
    LabelsObserved,
    ModelPromoted,
    ModelRegistered,
    PredictionsServed,
    ReplicaActivated,
    ReplicaReported,
    RetrainingAdvised,
    RolloutAdvanced,
    RolloutCompleted,
    RolloutStarted,
    WindowClosed,
)
from cairn.events.catalogue import topics_owned_by
from cairn.events.event import Event
from cairn.events.labels import Label
from cairn.events.predictions import Output, PredictionRow, ServedModel
from cairn.events.serving import Answers, Revision
from cairn.events.values import Arm, Route
from chassis.digest import combine, digest_tables
from chassis.outbox import load_waiting
from chassis.testing import Actor, World
from chassis.wiring import trailing_offsets
from deployer.app import build as build_deployer
from deployer.settings import Settings
from governance_auditor.app import build as build_auditor
from monitor.app import build as build_monitor
from registry.app import build as build_registry
from trainer.app import build as build_trainer
from validator.app import build as build_validator

BUILDS = (build_registry, build_trainer, build_validator, build_deployer, build_monitor, build_auditor)


def settings_of(world: World) -> Settings:
    """Settings that serve all six: the deployer's, with the world's trust file."""
    file = world.directory / "trust.json"
    world.trust.save(file)
    return Settings.model_construct(serving_url="http://127.0.0.1:8710", trust_file=file)


@dataclass
class Serving:
    """Plays one replica: follows the newest route, and answers rows by it."""

    world: World
    route: Route | None = None
    answered: dict[int, int] = field(default_factory=dict)
    served: int = 0

    def turn(self) -> bool:
        """Take over the newest route; whether there was a newer one."""
        routes = [
            one.route
            for one in self.world.told(RolloutStarted, RolloutAdvanced, RolloutCompleted)
            if isinstance(one, (RolloutStarted, RolloutAdvanced, RolloutCompleted))
        ]
        newest = max(routes, key=lambda route: route.revision, default=None)
        if newest is None or (self.route and newest.revision <= self.route.revision):
            return False
        self.route = newest
        for arm in newest.arms:
            self.world.publish(
                ReplicaActivated(
                    replica="serving-1",
                    start="s",
                    model=arm.model,
                    route_revision=newest.revision,
                    digest=arm.package.digest,
                    load_seconds=0.1,
                )
            )
        self.report()
        return True

    def report(self) -> None:
        """Tell what was answered."""
        assert self.route
        answers = tuple(
            Answers(
                model=DECLARATION.model,
                version=arm.model.version,
                arm=arm.name,
                route_revision=self.route.revision,
                answered=self.answered.get(self.route.revision * 1000 + arm.model.version, 0),
                failed=0,
            )
            for arm in self.route.arms
        )
        revision = Revision(model=DECLARATION.model, route_revision=self.route.revision)
        self.world.publish(ReplicaReported(replica="serving-1", start="s", revisions=(revision,), answers=answers))

    def answer(self, sample: Sample) -> str:
        """Serve one row; the prediction's id."""
        assert self.route
        self.served += 1
        arm = self.route.arms[self.served % len(self.route.arms)]
        prediction = f"p{self.served:04d}"
        self.world.publish(self._event(sample, arm, prediction))
        key = self.route.revision * 1000 + arm.model.version
        self.answered[key] = self.answered.get(key, 0) + 1
        self.report()
        return prediction

    def _event(self, sample: Sample, arm: Arm, prediction: str) -> PredictionsServed:
        assert self.route
        score = 1 / (1 + math.exp(-sample.features["mean_radius"] + 14))
        row = PredictionRow(
            prediction_id=prediction,
            served_at=self.world.clock(),
            arm=arm.name,
            version=arm.model.version,
            features=tuple(sample.features.values()),
            output=Output(score=score, label=int(score > 0.5)),
            latency_seconds=0.001,
        )
        return PredictionsServed(
            model=DECLARATION.model,
            replica="serving-1",
            route_revision=self.route.revision,
            models=(ServedModel(model=arm.model, profile=arm.profile),),
            columns=tuple(sample.features),
            rows=(row,),
            answered=1,
        )


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world in which the whole story was told, its stores on each database in turn."""
    world = World(tmp_path_factory.mktemp("loop"))
    for build in BUILDS:
        fresh = request.getfixturevalue("new_postgres")() if request.param == "postgresql" else None
        world.add(build(settings_of(world)), fresh)
    return tell_story(world)


def tell_story(world: World) -> World:
    """Tell the whole story to these services."""
    serving, parts = Serving(world), toy_parts()
    ref = world.objects.put_bytes(as_csv(parts.published), "text/csv")
    world.publish(DeclarationSubmitted(model=DECLARATION.model, declaration=DECLARATION))
    world.publish(DatasetPublished(dataset=DECLARATION.dataset, version="1", files=(ref,), format="csv"))
    rest(world, serving)
    for samples in (parts.quiet, parts.shifted):
        ids = [serving.answer(sample) for sample in samples]
        tell_labels(world, ids, samples)
        rest(world, serving)
    for sample in parts.rest:
        serving.answer(sample)
        rest(world, serving)
    return world


@dataclass(slots=True)
class Forgetful(Actor):
    """Loses its store between commit and relay, whenever a type of event waits there that it never lost before."""

    lost: set[str] = field(default_factory=set)

    def relay(self) -> int:
        """Carry out what waits; or lose it with the store, which is rebuilt from what Kafka has."""
        waiting = {type_in(row.headers) for row in load_waiting(self.database)}
        if waiting <= self.lost:
            return Actor.relay(self)
        self.lost |= waiting
        rebuild(self, trailing_offsets(self.database, "decider", self.definition.hears))
        return 1


def type_in(headers: tuple[tuple[str, bytes], ...]) -> str:
    return dict(headers)["ce_type"].decode()


def rest(world: World, serving: Serving) -> None:
    """Carry everything until nothing moves, the replica included."""
    while True:
        world.settle()
        if not serving.turn():
            return


def tell_labels(world: World, ids: list[str], samples: tuple[Sample, ...]) -> None:
    """Tell what turned out to be true."""
    items = tuple(
        Label(prediction_id=prediction, value=sample.label, observed_at=world.clock())
        for prediction, sample in zip(ids, samples, strict=True)
    )
    world.publish(LabelsObserved(model=DECLARATION.model, target=TARGET, items=items))


def only(world: World, kind: type[Event]) -> list[Event]:
    return world.told(kind)


def test_each_version_is_promoted_once_in_its_generation(ended: World):
    promoted = sorted((one.generation, one.model.version) for one in only(ended, ModelPromoted))
    assert promoted == [(1, 1), (2, 2)]


def test_drifted_windows_lead_to_one_advice(ended: World):
    assert len(only(ended, WindowClosed)) >= 2
    assert len(only(ended, DriftDetected)) >= 1
    assert len(only(ended, RetrainingAdvised)) == 1


def test_the_second_version_was_trained_on_what_was_served(ended: World):
    first, second = only(ended, ModelRegistered)
    assert first.dataset.name == DECLARATION.dataset
    assert second.dataset.name == f"served.{DECLARATION.model}"


def test_the_receipt_names_all_that_its_reader_needs(ended: World):
    receipt = max(only(ended, ModelPromoted), key=lambda one: one.generation)
    assert receipt.previous.version == 1
    assert receipt.metrics
    assert receipt.champion_metrics
    assert receipt.owner == DECLARATION.owner


def test_nothing_was_parked(ended: World):
    assert not [topic for topic, _partition in ended.log if topic.startswith("operations.")]


def test_a_history_in_any_order_that_keeps_each_partitions_order_gives_the_same_rows(ended: World, tmp_path: Path):
    """Every service folds the same log again, partition after partition, and in reverse: the digests stay equal."""
    for actor in ended.actors:
        wanted = combine(digest_tables(actor.database, actor.definition.tables.metadata))
        for seed in range(4):
            assert refold(ended, actor, tmp_path, seed) == wanted, f"{actor.definition.name}, seed {seed}"


@pytest.fixture(scope="module")
def forgotten(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world in which every service loses its store between commit and relay, once for each type that it tells."""
    world = World(tmp_path_factory.mktemp("forgotten"))
    for build in BUILDS:
        world.add(build(settings_of(world)))
    world.actors = [Forgetful(*(getattr(actor, one.name) for one in fields(actor))) for actor in world.actors]
    return tell_story(world)


def test_every_service_lost_its_store_with_each_type_that_it_tells(forgotten: World):
    for actor in forgotten.actors:
        assert isinstance(actor, Forgetful)
        own = {topic.name for topic in topics_owned_by(actor.definition.name)}
        told = {
            type_in(record.headers)
            for (topic, _), records in forgotten.log.items()
            if topic in own
            for record in records
        }
        assert told
        assert told <= actor.lost, actor.definition.name


def test_stores_lost_between_commit_and_relay_end_in_the_same_place(forgotten: World, ended: World):
    """As many events of each type, and none of them twice."""
    assert Counter(map(type, forgotten.told())) == Counter(map(type, ended.told()))
    headers = [dict(record.headers) for records in forgotten.log.values() for record in records]
    assert len({(one["ce_source"], one["ce_id"]) for one in headers}) == len(headers)


def test_after_lost_stores_each_is_what_the_log_folds_to(forgotten: World, tmp_path: Path):
    for actor in forgotten.actors:
        wanted = combine(digest_tables(actor.database, actor.definition.tables.metadata))
        assert refold(forgotten, actor, tmp_path, 0) == wanted, actor.definition.name
