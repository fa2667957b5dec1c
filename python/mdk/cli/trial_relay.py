"""The relay of `mdk relay`."""

from mdk.testing import LocalRelay


class TrialRelay(LocalRelay):
    """A relay without what makes it faulty."""

    _can_be_faulty = False
