"""Links to an account: `nostr:nprofile1…`, in Bech32."""

from mdk._mdk import PublicKey

_MAX_RELAYS = 3
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def profile_uri(account: PublicKey, relays: tuple[str, ...]) -> str:
    """`nostr:nprofile1…` (NIP-19, NIP-21)."""
    data = bytes([0, 32]) + bytes.fromhex(account.hex)
    for relay in relays[:_MAX_RELAYS]:
        url = relay.encode()
        if len(url) <= 255:
            data += bytes([1, len(url)]) + url
    return "nostr:" + _bech32("nprofile", data)


def _bech32(prefix: str, data: bytes) -> str:
    """Bech32 of BIP-173, without its limit of length."""
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    words = [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = _polymod([*expanded, *words, 0, 0, 0, 0, 0, 0]) ^ 1
    words += [check >> 5 * (5 - at) & 31 for at in range(6)]
    return f"{prefix}1" + "".join(_ALPHABET[word] for word in words)


def _polymod(values: list[int]) -> int:
    generator = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for at, term in enumerate(generator):
            check ^= term if top >> at & 1 else 0
    return check
