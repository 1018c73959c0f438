"""The trainer's composition root."""

from cairn.events.hearing import HEARD
from chassis import Definition, ServiceSettings
from trainer.api import make_routes
from trainer.handlers import handlers
from trainer.projections import projections
from trainer.store import TrainerTable
from trainer.work import PRELOAD, TRAIN


def build(_settings: ServiceSettings) -> Definition:
    """The trainer, whole."""
    return Definition(
        name="trainer",
        hears=HEARD["trainer"],
        tables=TrainerTable,
        handlers=handlers,
        projections=projections,
        works=(TRAIN,),
        routes=make_routes,
        preload=PRELOAD,
    )
