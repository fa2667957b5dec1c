"""The engine alone: bring your own transport. Every network step is yours, every secret stays inside."""

from mdk import Applied, Deferred, Duplicate, Keys, Mdk, MessageReceived, Rejected, SignedEvent

RELAYS = ["wss://relay.example"]
wire: list[SignedEvent] = []  # stands for your relay

with Mdk.in_memory(Keys.generate()) as alice, Mdk.in_memory(Keys.generate()) as bob:
    wire.append(bob.new_key_package(relays=RELAYS))

    with alice.create_group("Lunch", members=[wire[-1]], relays=RELAYS) as pending:
        wire.extend(pending.welcomes)  # publish first …
        group = pending.confirm()  # … then make it true; an exception here rolls back

    wire.append(alice.create_message(group.id, "Soup or sandwich?").event)

    for event in wire:
        match bob.process(event):
            case Applied(events=events):
                for e in events:
                    if isinstance(e, MessageReceived):
                        print(e.message.text)
            case Duplicate() | Deferred():
                pass  # safe to see twice; the engine retries by itself
            case Rejected(code=code, reason=reason):
                print(code, reason)
        for invite in bob.invites():
            bob.accept(invite.id)

    for wanted in bob.interests():  # what to subscribe to, and where
        print(wanted.relays, wanted.to_json())
