"""The governance-auditor needs no settings of its own."""

from chassis import ServiceSettings as Settings

__all__ = ["Settings"]
