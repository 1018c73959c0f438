"""Which arm answers: the routes that this process follows, and the share of each arm."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from cairn.events.predictions import ServedModel
from cairn.events.values import Arm, IoSchema
from deployer.serving.refusals import NotNow, Refused
from deployer.serving.reporting import Account
from deployer.serving.scorer import Scorer


@dataclass(frozen=True, slots=True)
class LiveArm:
    """An arm whose model is loaded."""

    arm: Arm
    revision: int
    schema: IoSchema
    scorer: Scorer
    account: Account = field(init=False)
    served: ServedModel = field(init=False)
    columns: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        model = self.arm.model
        object.__setattr__(self, "account", Account(self.revision, model.name, model.version, self.arm.name))
        object.__setattr__(self, "served", ServedModel(model=model, profile=self.arm.profile))
        object.__setattr__(self, "columns", tuple(column.name for column in self.schema.inputs))


@dataclass(frozen=True, slots=True)
class LiveRoute:
    """A model's route, loaded. Without an arm it answers nothing."""

    revision: int
    arms: tuple[LiveArm, ...]

    def pick(self, prediction_id: str) -> LiveArm:
        """The arm of a prediction, by the weights: the same id always has the same one. There must be an arm."""
        share = share_of(prediction_id) * sum(live.arm.weight_ratio for live in self.arms)
        for live in self.arms:
            share -= live.arm.weight_ratio
            if share < 0:
                return live
        return self.arms[-1]


def answering_arms(arms: tuple[Arm, ...]) -> list[Arm]:
    """The arms that take a part of the traffic."""
    return [arm for arm in arms if arm.role != "shadow" and arm.weight_ratio > 0]


def share_of(prediction_id: str) -> float:
    """A number from 0 up to 1 that depends on the id alone."""
    return int.from_bytes(hashlib.sha256(prediction_id.encode()).digest()[:6]) / 2**48


@dataclass(slots=True)
class RouteTable:
    """The routes that are followed, by model."""

    tried: bool = False
    """Whether each route that was there at the start is followed, or was told to fail."""
    current: bool = False
    """Whether no later route can have been told without being heard."""
    known: set[str] = field(default_factory=set)
    """The models of which a route was told, whether or not one is followed yet."""
    routes: dict[str, LiveRoute] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether requests shall be sent here."""
        return self.tried and self.current

    def revisions(self) -> dict[str, int]:
        """The route followed of each model."""
        return {model: route.revision for model, route in self.routes.items()}

    def route(self, model: str) -> LiveRoute:
        """A model's route, with an arm at least. Raises Refused."""
        route = self.routes.get(model)
        if route is None:
            if not self.tried:
                raise NotNow("this replica is starting")
            if model in self.known:
                raise NotNow(f"{model} is not loaded yet")
            raise Refused(404, f"there is no model {model[:200]!r} here")
        if not route.arms:
            raise Refused(409, f"no version of {model} takes traffic")
        return route

    def arm(self, model: str, version: str | None, prediction_id: str) -> LiveArm:
        """The arm that answers: of the named version, or by the weights. Raises Refused."""
        route = self.route(model)
        if version is None:
            return route.pick(prediction_id)
        return find_version(route, model, version)

    def champion(self, model: str, version: str | None) -> LiveArm:
        """The arm that stands for the model: of the named version, or the one with the most traffic."""
        route = self.route(model)
        if version is None:
            return max(route.arms, key=lambda live: live.arm.weight_ratio)
        return find_version(route, model, version)

    def __iter__(self) -> Iterator[LiveRoute]:
        return iter(self.routes.values())


def find_version(route: LiveRoute, model: str, version: str) -> LiveArm:
    """The arm of a version. Raises Refused."""
    for live in route.arms:
        if str(live.arm.model.version) == version:
            return live
    raise Refused(404, f"version {version[:40]!r} of {model} takes no traffic")
