"""What can be done with a whole database file without the keys of its account.

The same operations on an open account are methods of `Mdk`. All can be killed at any point: what stood before still
stands, or the new state does.
"""

from ._mdk import backup, doctor, encrypt_existing, rekey, restore, salvage, verify

__all__ = ["backup", "doctor", "encrypt_existing", "rekey", "restore", "salvage", "verify"]
