"""The model card: what a person should know of a model, in Markdown. It holds no instant and nothing of chance."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version

from cairn.events.declaration import Declaration
from cairn.events.values import Code, Column, Metric
from modelkit.datasets import Label
from modelkit.estimators import Candidate

_LIBRARIES = ("numpy", "scikit-learn", "skops")


@dataclass(frozen=True)
class Facts:
    """What a card tells beside the declaration."""

    dataset_digest: str
    rows: int
    held_out_rows: int
    classes: tuple[Label, Label]
    inputs: tuple[Column, ...]
    candidate: Candidate
    trials: int
    metrics: tuple[Metric, ...]
    code: Code


def card_of(declaration: Declaration, facts: Facts) -> str:
    """The card."""
    sections = (
        [f"# Model card: {declaration.model}", "", declaration.purpose or "No purpose was declared."],
        ["", "## What it does", "", *_intention(declaration, facts)],
        ["", "## What it was made from", "", *_origin(declaration, facts)],
        ["", "## What cross-validation claims", "", *_claims(facts)],
        ["", "## What it takes", "", *_inputs(facts)],
        ["", "## What it must show", "", *_gates(declaration)],
        ["", "## Limits", "", *_limits(declaration)],
    )
    return "\n".join(line for section in sections for line in section) + "\n"


def _intention(declaration: Declaration, facts: Facts) -> list[str]:
    negative, positive = facts.classes
    meaning = f"a score is the probability of `{positive}`; from 0.5 on the answer is `{positive}`, below `{negative}`"
    return [f"It predicts `{declaration.target}`: {meaning}.", "", f"Owner: {declaration.owner}."]


def _origin(declaration: Declaration, facts: Facts) -> list[str]:
    params = ", ".join(f"{name} {value}" for name, value in sorted(facts.candidate.params.items()))
    choice = f"the best of {facts.trials} trials by {declaration.search.metric}"
    return [
        f"- Dataset: `{declaration.dataset}`, `{facts.dataset_digest}`",
        f"- Rows: {facts.rows}, of which {facts.held_out_rows} were held out and never seen in training",
        f"- Estimator: {facts.candidate.estimator} ({params}), {choice}",
        f"- Seed: {declaration.seed}",
        f"- Code: {facts.code.repository} {facts.code.commit}",
        f"- Libraries: {', '.join(f'{name} {version(name)}' for name in _LIBRARIES)}",
    ]


def _claims(facts: Facts) -> list[str]:
    rows = (
        f"| {metric.name} | {metric.value:.4f} | {_bound(metric.lower)} to {_bound(metric.upper)} | {metric.n} |"
        for metric in facts.metrics
    )
    return ["| metric | value | 95 % interval | rows |", "|---|---|---|---|", *rows]


def _inputs(facts: Facts) -> list[str]:
    rows = (f"| {_escaped(column.name)} | {column.type} | {_gaps(column)} |" for column in facts.inputs)
    return ["| input | type | missing values in training |", "|---|---|---|", *rows]


def _gates(declaration: Declaration) -> list[str]:
    lines = [f"- {name}: {bound}" for name, bound in sorted(declaration.gates.minimums.items())]
    if declaration.gates.beats_champion:
        gate = declaration.gates.beats_champion
        lines.append(f"- a better {gate.metric} than the champion's, with {gate.confidence:.0%} confidence")
    return lines or ["Nothing was asked."]


def _limits(declaration: Declaration) -> Iterable[str]:
    drift = declaration.monitoring.drift
    yield "The figures above are claims until the validator has measured them on the held-out rows."
    yield (
        f"The model is watched in windows of {declaration.monitoring.window_rows} predictions; an input has drifted "
        f"at a population stability index of {drift.psi} and a chi-square probability below "
        f"{drift.significance} divided by the number of inputs."
    )


def _gaps(column: Column) -> str:
    return "no" if column.required else "yes"


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
