"""The asyncio layer: one account, its relays, its outbox and its upkeep."""

from .accounts import data_folder
from .client import Client
from .group import Group
from .groups import Groups
from .invite_policy import InvitePolicy
from .invites import Invites
from .key_packages import KeyPackages
from .media import Media
from .outbox import Outbox
from .pool import RelayPool
from .profiles import Profile, Profiles
from .values import ClientStats, RekeyReport, Sent

__all__ = [
    "Client",
    "ClientStats",
    "Group",
    "Groups",
    "InvitePolicy",
    "Invites",
    "KeyPackages",
    "Media",
    "Outbox",
    "Profile",
    "Profiles",
    "RekeyReport",
    "RelayPool",
    "Sent",
    "data_folder",
]
