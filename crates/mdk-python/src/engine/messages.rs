//! `mdk.Mdk`: sending, and taking in what others sent.

use mdk_core::{Engine, NewMessage};
use pyo3::prelude::*;

use super::{Mdk, Object, media};
use crate::args::{self, Int};
use crate::batch::OutcomeIterator;
use crate::clock;
use crate::signed_event::Incoming;
use crate::text::Text;
use crate::views::ToPy;

#[pymethods]
impl Mdk {
    /// Encrypts a message: an Outgoing. Its `event` is for the caller to publish; its `message` is in the history.
    ///
    /// Also while changes of others compete (Deferred with the reason rival): it then counts for the side that this account
    /// follows, and is MessagesInvalidated for everybody should that side lose. A Client waits with it.
    ///
    /// Args:
    ///     text: the content. The inner event with id and tags is at most Config.max_message_bytes of JSON.
    ///     kind: its Nostr kind, 0 to 65535; 9 is chat.
    ///     reply_to: id of the message that it answers.
    ///     tags: further tags.
    ///     attachments: files of a message of kind 9, at most 64: each from encrypt_media() in this epoch, or from another
    ///         message of this epoch, with at least one locator.
    ///
    /// Raises:
    ///     InvalidInput: the inner event is too large (field "text"), or an argument is wrong.
    ///     GroupNotFound, NotMember, MessageNotFound: the ids.
    ///     NotAllowed: an edit or a deletion (kinds 1009 and 5) of another member's message.
    ///     MediaStale: a file was encrypted for another epoch: encrypt and upload it again.
    ///     CommitPending: a commit of ours in this group, not an automatic one, is to be confirmed or discarded first.
    ///     GroupTooLarge: the event would be larger than Config.max_event_bytes.
    #[pyo3(signature = (group_id, text, *, kind=Int::Small(9), reply_to=None, tags=None, attachments=None))]
    #[pyo3(
        text_signature = "($self, group_id, text, *, kind=9, reply_to=None, tags=(), attachments=())"
    )]
    #[allow(clippy::too_many_arguments)] // of Python, by name
    fn create_message<'py>(
        &self,
        py: Python<'py>,
        group_id: Text,
        text: Text,
        kind: Int,
        reply_to: Option<Text>,
        tags: Option<&Bound<'_, PyAny>>,
        attachments: Option<&Bound<'_, PyAny>>,
    ) -> Object<'py> {
        let group = args::group(&group_id)?;
        let message = NewMessage {
            text: text.get("text")?.to_owned(),
            kind: args::range("kind", kind, 0, u16::MAX.into())?,
            reply_to: reply_to.as_ref().map(|id| args::event_id("reply_to", id)).transpose()?,
            tags: tags.map_or_else(|| Ok(Vec::new()), |tags| args::tags("tags", tags))?,
            attachments: attachments.map_or_else(|| Ok(Vec::new()), media::attachments)?,
        };
        self.call(py, |e| e.create_message(&group, message))?.to_py(py)
    }

    /// Reacts to a message (NIP-25): an Outgoing. `emoji` has 1 to 64 characters. Raises as create_message().
    #[pyo3(signature = (group_id, message_id, emoji=Text::Fixed("+")))]
    #[pyo3(text_signature = "($self, group_id, message_id, emoji='+')")]
    fn react<'py>(
        &self,
        py: Python<'py>,
        group_id: Text,
        message_id: Text,
        emoji: Text,
    ) -> Object<'py> {
        let group = args::group(&group_id)?;
        let message = args::event_id("message_id", &message_id)?;
        let emoji = emoji.get("emoji")?;
        self.call(py, |e| e.react(&group, &message, emoji))?.to_py(py)
    }

    /// Replaces the text of a message of ours: an Outgoing.
    ///
    /// Raises:
    ///     NotAllowed: it is somebody else's or deleted, or a reaction, an edit or a deletion.
    ///     Otherwise as create_message().
    fn edit<'py>(
        &self,
        py: Python<'py>,
        group_id: Text,
        message_id: Text,
        text: Text,
    ) -> Object<'py> {
        let group = args::group(&group_id)?;
        let message = args::event_id("message_id", &message_id)?;
        let text = text.get("text")?;
        self.call(py, |e| e.edit(&group, &message, text))?.to_py(py)
    }

    /// Deletes a message or a reaction of ours, or an edit, whose message then reads as before it: an Outgoing.
    ///
    /// Raises:
    ///     NotAllowed: it is somebody else's, or a deletion, which cannot be taken back.
    ///     Otherwise as create_message().
    fn delete<'py>(&self, py: Python<'py>, group_id: Text, message_id: Text) -> Object<'py> {
        let group = args::group(&group_id)?;
        let message = args::event_id("message_id", &message_id)?;
        self.call(py, |e| e.delete(&group, &message))?.to_py(py)
    }

    /// Encrypts a message, reaction, edit or deletion of ours once more: an Outgoing, to publish.
    ///
    /// For when the program ended before it had published the first event, or cannot know: the message is in the history
    /// from create_message() on. The event is another one with the same message id; members who have read the first one
    /// show the message once, and nothing changes in the history here.
    ///
    /// Raises:
    ///     NotAllowed: it is somebody else's, is deleted, or was lost with its branch.
    ///     MediaStale: it has files and was encrypted in another epoch: send them anew.
    ///     Otherwise as create_message().
    fn resend<'py>(&self, py: Python<'py>, group_id: Text, message_id: Text) -> Object<'py> {
        let group = args::group(&group_id)?;
        let message = args::event_id("message_id", &message_id)?;
        self.call(py, |e| e.resend(&group, &message))?.to_py(py)
    }

    /// Takes in one event from anywhere: a SignedEvent, or its JSON as str or bytes. Returns an Outcome.
    ///
    /// Nothing that a peer can send raises. Events may come in any order, within these limits:
    ///
    /// - An event of an epoch to come is kept (Deferred) and retried by the engine. So is one that nothing opens, and a
    ///   message before which more than Config.maximum_forward_distance of its sender are missing.
    /// - Kept are at most Config.max_held_events events and 16 MiB per group, each for 30 days, and of invites that nobody
    ///   has answered 16 of one account and 256 of all strangers, for 30 days. Beyond that an event is Deferred as
    ///   resource_refused and NOT kept: deliver it again later. (A stranger's invite that finds no room takes that of the
    ///   stranger with the most, whose oldest one goes.)
    /// - Readable are the present epoch and the five before it, and up to 256 before it while commits come: until a second
    ///   passes without one, or five seconds in all, not counting the engine's own work. Nothing opens what is older. A
    ///   message that is Config.out_of_order_tolerance generations or more behind its sender's newest is Rejected as
    ///   stale_epoch.
    /// - A kind-445 event that comes before the Welcome of its group is Rejected as unknown_group and NOT kept: deliver it
    ///   again after the Welcome. So is one under a routing id that the group takes later: deliver it again when
    ///   interests() names that id. Messages are taken in from the Welcome on, also before accept().
    ///
    /// A message that arrives after its expiry is Applied without an event: it is neither kept nor shown.
    fn process<'py>(&self, py: Python<'py>, event: &Bound<'_, PyAny>) -> Object<'py> {
        let outcome = match Incoming::extract(event)? {
            Incoming::Event(event) => self.call(py, |e| e.process_event(event)),
            Incoming::Json(json) => self.call(py, |e| e.process(json.as_bytes())),
        };
        outcome?.to_py(py)
    }

    /// Takes in many events, up to 500 in one transaction: an iterator of Outcome, in their order.
    ///
    /// It is lazy: events are taken from `events` and processed while the outcomes are read, a batch ahead. If a call
    /// fails, the events of its batch are not processed; the next next() tries them again. Threads that share the iterator
    /// take turns, and each gets other outcomes.
    ///
    /// Of a batch Welcomes are taken up first, then the events of groups, the oldest first, whatever their order and
    /// whatever lies between them.
    ///
    /// An iterator that is given up has processed its batch all the same. Of the outcomes that nobody read, the `events` are
    /// in events(), and the next tick() returns what is to be published. Closing the account takes them away as well: an
    /// iterator with outcomes left then raises Closed.
    fn process_many(slf: &Bound<'_, Self>, events: &Bound<'_, PyAny>) -> PyResult<OutcomeIterator> {
        OutcomeIterator::new(slf, events)
    }

    /// Does what is due. Returns an Outcome; publish its `reply`. Call it after opening, then now and then.
    ///
    /// It chooses between commits that compete, answers leaves that wait for it, tries kept events again, erases messages whose time is over, replaces KeyPackages that were used or come to their end (publish their events, kind 30443, on the relays of key_packages()),
    /// and drops expired ones with their keys. The first call after opening, or after an iterator of process_many() was
    /// given up with something to publish, also returns what may not have been published: automatic commits, leave
    /// proposals, and the Welcomes of confirmed commits, for 3 days, and once more if nobody has called it in that time.
    /// Publishing those twice does no harm.
    ///
    /// An automatic commit in `reply` is true here only when it is confirmed, once a relay has it, or when its own event
    /// comes back through process(): `for commit in mdk.pending(): if commit.automatic: commit.confirm()`.
    ///
    /// Args:
    ///     now: the time to judge by, an aware datetime, for this call only. None: the clock's. What the call makes is dated
    ///         by it, and a KeyPackage may not be dated before an earlier one of its slot: a time to come is for tests.
    #[pyo3(signature = (now=None))]
    fn tick<'py>(&self, py: Python<'py>, now: Option<&Bound<'_, PyAny>>) -> Object<'py> {
        let now = now.map(|now| args::millis("now", now)).transpose()?;
        let outcome = self.call(py, |e| match now {
            Some(now) => clock::at(e, now, Engine::tick),
            None => e.tick(),
        });
        outcome?.to_py(py)
    }

    /// Makes all open choices between branches now, without waiting for quiet. Returns an Outcome; publish its `reply`.
    ///
    /// Call it when everything that relays have was given to process_many(), and not before: what was kept is taken up
    /// to its end, and what cannot be opened by then, and is older than all that is retained, is reported as lost
    /// (HistoryGap).
    fn settle<'py>(&self, py: Python<'py>) -> Object<'py> {
        self.call(py, Engine::settle)?.to_py(py)
    }
}
