"""What is remembered of models."""

from cairn.events import ModelDeclared, ModelRegistered
from chassis import Projections, Rows
from monitor.store import Declared, Version


def register_registry(projections: Projections) -> None:
    """Of each event on this topic its function."""
    projections.of(ModelDeclared)(remember_declaration)
    projections.of(ModelRegistered)(remember_version)


def remember_declaration(event: ModelDeclared, rows: Rows) -> None:
    """Keep every revision."""
    rows.put(
        Declared(
            model=event.model,
            revision=event.revision,
            window_rows=event.declaration.monitoring.window_rows,
            facts=event.model_dump_json(),
        )
    )


def remember_version(event: ModelRegistered, rows: Rows) -> None:
    """Keep every version."""
    rows.put(
        Version(
            model=event.model.name,
            version=event.model.version,
            revision=event.declaration.revision,
            profile=event.profile.digest,
            facts=event.model_dump_json(),
        )
    )
