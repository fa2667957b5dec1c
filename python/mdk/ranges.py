"""Numbers of a caller: within their range, or InvalidInput with the field, the limit and the value."""

from typing import SupportsIndex

from .errors import InvalidInput


def within(field: str, value: int, low: int, high: int | None = None) -> int:
    """The number, if it is from `low` to `high`; None means that there is no largest one.

    Raises:
        InvalidInput: it is not. TypeError: it is no whole number.
    """
    # What comes from a program without types may be a text.
    given: object = value
    if not isinstance(given, SupportsIndex):
        raise TypeError(f"{field}: {type(given).__name__} instead of a whole number")
    if value < low:
        raise InvalidInput(
            f"{field}: too small (least {low}, got {value})", field=field, limit=low, value=value
        )
    if high is not None and value > high:
        raise InvalidInput(
            f"{field}: too large (limit {high}, got {value})", field=field, limit=high, value=value
        )
    return value
