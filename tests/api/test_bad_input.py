"""Whatever comes from outside ends as an outcome and leaves the database as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import sampling

from mdk import Mdk, Rejected, SignedEvent, errors

RELAYS = ["wss://relay.example"]
EXAMPLES = sampling.count("bad_inputs")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def account() -> Iterator[Mdk]:
    with Mdk.in_memory() as mdk:
        yield mdk


@pytest.fixture(scope="module")
def event() -> SignedEvent:
    with Mdk.in_memory() as mdk:
        return mdk.new_key_package(relays=RELAYS)


def rejected(account: Mdk, raw: str | bytes) -> None:
    before = account.digest()
    outcome = account.process(raw)
    assert isinstance(outcome, Rejected), outcome
    assert outcome.code
    assert outcome.reason
    assert outcome.rule
    assert outcome.events == ()
    assert account.digest() == before
    with pytest.raises(errors.InvalidEvent):
        SignedEvent.from_json(raw)


@settings(deadline=None, max_examples=EXAMPLES)
@given(raw=st.binary(max_size=200) | st.text(st.characters(), max_size=200))
def test_noise(account: Mdk, raw: str | bytes) -> None:
    rejected(account, raw)


@settings(deadline=None, max_examples=EXAMPLES)
@given(data=st.data())
def test_an_event_with_one_member_changed(
    account: Mdk, event: SignedEvent, data: st.DataObject
) -> None:
    members = json.loads(event.to_json())
    name = data.draw(st.sampled_from(sorted(members)))
    value = data.draw(JSON.filter(lambda value: value != members[name]))
    rejected(account, json.dumps({**members, name: value}))


@pytest.mark.parametrize(
    "raw",
    [
        "\ud800",
        "{}",
        "[" * 100_000,
        '{"id":"' + "0" * (1 << 20) + '"}',
        b"\x00",
        b"\xff\xfe",
        "NaN",
    ],
    ids=["surrogate", "empty", "nested", "huge", "nul", "no-utf8", "nan"],
)
def test_the_odd_ones(account: Mdk, raw: str | bytes) -> None:
    rejected(account, raw)
