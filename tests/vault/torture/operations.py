"""Every operation that is killed and starved, by name."""

from __future__ import annotations

from . import key_sources, opening, receiving, sending, vault_operations
from .operation import Operation


def all_operations() -> list[Operation]:
    """Every operation that this build knows, in the order of their cost."""
    return [
        opening.FirstOpen(),
        opening.Reopen(),
        opening.Close(),
        receiving.Receive(),
        receiving.ReceiveMany(),
        receiving.ReceiveCheckpoint(),
        receiving.ReceiveRestart(),
        receiving.ReceiveCommit(),
        receiving.Welcome(),
        receiving.Join(),
        sending.Send(),
        sending.Delete(),
        sending.TickAfterDeletion(),
        sending.NewKeyPackage(),
        sending.Leave(),
        sending.Stage(),
        sending.Confirm(),
        sending.Discard(),
        sending.CreateGroup(),
        *vault_operations.available(),
    ]


def by_name(name: str) -> Operation:
    everything = [*all_operations(), *key_sources.further_operations()]
    return next(o for o in everything if o.name == name)
