//! Frozen values that the engine hands out.

use std::collections::BTreeSet;
use std::path::PathBuf;

use mdk_wire::v2::Attachment;
use mdk_wire::v2::components::Image;
use mdk_wire::{ContentId, Event, EventId, GroupId, KeyPackageRef, NostrGroupId, PublicKey};

/// The state of a group, for its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupState {
    /// A member.
    Active,
    /// Invited, not yet accepted.
    Pending,
    /// A leave proposal is out; the answering commit has not been seen.
    Leaving,
    /// Left, or declined.
    Left,
    /// Removed by an admin.
    Removed,
    /// Ended for all members by an admin.
    Disbanded,
    /// State was lost; only a new invite helps.
    Unrecoverable,
}

/// The delivery of a message of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// It is not yet known to be on a relay.
    Queued,
    /// At least one relay has it.
    Accepted,
    /// Every relay refused.
    Failed,
}

/// A member account and its leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The account.
    pub public_key: PublicKey,
    /// Whether it is listed in the admin policy.
    pub is_admin: bool,
    /// Whether it is the engine's own account.
    pub is_me: bool,
    /// Its leaves, ascending.
    pub leaf_indexes: Vec<u32>,
}

/// The name, description and picture of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupProfile {
    /// Name.
    pub name: String,
    /// Description.
    pub description: String,
    /// Whether it has an image or avatar.
    pub has_image: bool,
}

/// Whether the removals of a group hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovalsHold {
    /// Commits that are missing until removals of ours that are to be sealed cannot be undone any more; 0 when none is.
    pub sealing: u64,
    /// An account is back that had been removed or demoted ([`EventBody::RemovalUndone`]): nothing can be said until
    /// that is settled. The state is also set if the others may be on another branch ([`EventBody::CannotFollow`]);
    /// then it ends when one of them is heard here.
    pub contested: bool,
}

/// A group as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// MLS group id; private, never on a relay.
    pub id: GroupId,
    /// Routing id of the current epoch: the `h` tag.
    pub nostr_group_id: NostrGroupId,
    /// Its name, description and picture.
    pub profile: GroupProfile,
    /// Relays that carry the group, sorted.
    pub relays: Vec<String>,
    /// Admins, sorted.
    pub admins: Vec<PublicKey>,
    /// Number of member accounts.
    pub member_count: usize,
    /// Current epoch.
    pub epoch: u64,
    /// The state of the group.
    pub state: GroupState,
    /// Seconds after which messages disappear; `None` when off.
    pub retention: Option<u64>,
    /// Whether its removals hold.
    pub removals: RemovalsHold,
    /// Messages of others after the last one marked read.
    pub unread_count: u64,
    /// The newest message, without its reactions.
    pub last_message: Option<Box<Message>>,
}

/// One reaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reaction {
    /// The message reacted to.
    pub message_id: EventId,
    /// The account that reacted.
    pub sender: PublicKey,
    /// The reaction's content, at most 64 characters.
    pub emoji: String,
}

/// When a message was said and received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageTimes {
    /// The author's time, Unix seconds.
    pub created_at: u64,
    /// Our time of receipt, Unix seconds.
    pub received_at: u64,
    /// Epoch it was encrypted in.
    pub epoch: u64,
}

/// The outcome of a message: edited, deleted, invalidated, delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageFate {
    /// Whether an edit was applied.
    pub edited: bool,
    /// Whether its author deleted it, or it expired.
    pub deleted: bool,
    /// Whether it belongs to a branch that lost.
    pub invalidated: bool,
    /// The delivery, for our own messages.
    pub delivery: Delivery,
}

/// One message of the history, edits and reactions applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// NIP-01 id of the inner event.
    pub id: EventId,
    /// Its group.
    pub group_id: GroupId,
    /// MLS-authenticated author.
    pub sender: PublicKey,
    /// Kind of the inner event.
    pub kind: u16,
    /// Content, the newest edit applied; empty when deleted.
    pub text: String,
    /// When it was said and received.
    pub times: MessageTimes,
    /// Message it answers.
    pub reply_to: Option<EventId>,
    /// Files that it carries, of those that are valid. Only chat messages do.
    pub attachments: Vec<Attachment>,
    /// Reactions, oldest first.
    pub reactions: Vec<Reaction>,
    /// Its outcome.
    pub fate: MessageFate,
    /// Whether we sent it.
    pub is_mine: bool,
    /// Tags of the inner event.
    pub tags: Vec<Vec<String>>,
}

/// A KeyPackage, of ours or of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPackageInfo {
    /// KeyPackageRef (RFC 9420, 5.2).
    pub reference: KeyPackageRef,
    /// Id of the 30443 event.
    pub event_id: EventId,
    /// The `d` tag.
    pub slot: String,
    /// Time of the event, Unix seconds.
    pub created_at: u64,
    /// End of its lifetime, Unix seconds.
    pub expires_at: u64,
    /// The relays to publish it at; unknown for KeyPackages of other accounts.
    pub relays: Vec<String>,
    /// Whether it may be used by several Welcomes.
    pub last_resort: bool,
    /// Whether a Welcome to us has used it.
    pub used: bool,
}

/// A Welcome that was received and verified, waiting for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// Id of the gift wrap.
    pub id: EventId,
    /// The group, once accepted.
    pub group_id: GroupId,
    /// Its name.
    pub group_name: String,
    /// Its description.
    pub description: String,
    /// The MLS-authenticated admin who signed the Welcome.
    pub inviter: PublicKey,
    /// Number of member accounts.
    pub member_count: usize,
    /// Admins.
    pub admins: Vec<PublicKey>,
    /// Relays.
    pub relays: Vec<String>,
    /// Our time of receipt, Unix seconds.
    pub received_at: u64,
}

/// A commit of ours that is not yet true.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Handle for `confirm` and `discard`.
    pub id: i64,
    /// Its group.
    pub group_id: GroupId,
    /// The kind-445 event; `None` for a group's founding.
    pub event: Option<Event>,
    /// Gift wraps, one per new member leaf.
    pub welcomes: Vec<Event>,
    /// Relays of the source epoch, where the event goes.
    pub relays: Vec<String>,
    /// Whether the engine made it by itself (the answer to a leave).
    pub automatic: bool,
}

/// An encrypted message, ready to be published.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The kind-445 event.
    pub event: Event,
    /// The message as stored in the history.
    pub message: Message,
    /// The relays to publish it at.
    pub relays: Vec<String>,
}

/// The filter to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// NIP-01 filter as JSON.
    pub filter: String,
    /// The relays; empty means the account's inbox relays (kind 10050), which the caller knows.
    pub relays: Vec<String>,
}

/// Times of which a relay has more than it gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpaged {
    /// The routing id that it was asked for.
    pub route: NostrGroupId,
    /// The first of these seconds, Unix.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// The events that it gives of them; empty if they prove nothing.
    pub events: Vec<EventId>,
}

/// Facts about the open database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// `None` in memory.
    pub path: Option<PathBuf>,
    /// Schema version.
    pub schema_version: u32,
    /// Version of the linked SQLCipher.
    pub sqlcipher_version: String,
    /// Size of the database file.
    pub size_bytes: u64,
    /// The source of the key; `"none"` in memory.
    pub key_source: &'static str,
    /// The time at which the database was last encrypted anew with another key, Unix seconds.
    pub rekeyed_at: Option<u64>,
}

/// The settings of a new group.
#[derive(Debug, Clone, Default)]
pub struct NewGroup {
    /// Name, at most 256 bytes of UTF-8.
    pub name: String,
    /// Description, at most 4096 bytes of UTF-8.
    pub description: String,
    /// 1 to 16 relay URLs.
    pub relays: Vec<String>,
    /// KeyPackage events (kind 30443) of the invitees.
    pub members: Vec<Event>,
    /// Admins besides the creator; each must be an invitee.
    pub admins: Vec<PublicKey>,
    /// Seconds until messages disappear.
    pub retention: Option<u64>,
    /// Servers (Blossom) where files of the group go, at most 16; without any, the one that other implementations found
    /// their groups with.
    pub media_servers: Vec<String>,
}

/// A partial edit of a group's settings; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct GroupUpdate {
    /// New name.
    pub name: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// New relays.
    pub relays: Option<Vec<String>>,
    /// Whether the group gets another routing id, the number that relays see; drawn at random, never chosen.
    pub rotate_routing: bool,
    /// The whole new admin list.
    pub admins: Option<Vec<PublicKey>>,
    /// New retention in seconds; 0 turns it off.
    pub retention: Option<u64>,
    /// New image, uploaded already; `Some(None)` removes it. An avatar URL (0x8007), which would be shown in its place, is
    /// removed with either.
    pub image: Option<Option<Image>>,
    /// Public https address of a picture (0x8007), at most 2048 bytes; `Some(None)` removes it. An image, which nobody
    /// would see any more, is removed with a new address, and stays when the address goes.
    pub avatar_url: Option<Option<String>>,
    /// New servers (Blossom) where files of the group go, as in [`NewGroup::media_servers`]. Places of other kinds that the
    /// group names stay.
    pub media_servers: Option<Vec<String>>,
}

/// Requirements of a group on its members' clients, beside those that it has now. Ids are those that are registered for
/// MLS and Marmot.
#[derive(Debug, Clone, Default)]
pub struct RequirementsUpdate {
    /// Components of the group that become required. One that the group does not have begins with its empty state.
    pub components: Vec<u16>,
    /// MLS extensions that become required.
    pub extensions: Vec<u16>,
    /// MLS proposals that become required.
    pub proposals: Vec<u16>,
    /// Components that the group gives up: their settings go, and they are required no more.
    pub remove: Vec<u16>,
}

/// A message to send.
#[derive(Debug, Clone, Default)]
pub struct NewMessage {
    /// Content.
    pub text: String,
    /// Kind of the inner event; 9 is chat.
    pub kind: u16,
    /// Message it answers.
    pub reply_to: Option<EventId>,
    /// Further tags.
    pub tags: Vec<Vec<String>>,
    /// Files, encrypted in this epoch and uploaded: each with at least one locator. Only of a chat message.
    pub attachments: Vec<Attachment>,
}

/// An event of the log, in the order in which it became true. `cursor` is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineEvent {
    /// Position in the event log.
    pub cursor: i64,
    /// The group it concerns.
    pub group_id: Option<GroupId>,
    /// The content of the event.
    pub body: EventBody,
}

/// The kinds of event.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventBody {
    /// A message arrived (any kind but reaction, edit, delete), as it was said: edits and reactions are events of their
    /// own.
    MessageReceived {
        /// The message.
        message: Message,
    },
    /// A message reads differently: its author edited it, or the edit that was shown is gone (deleted, expired, or lost
    /// with its branch). Also told of a message that is invalidated.
    MessageEdited {
        /// The message as it is now.
        message: Message,
    },
    /// A message was deleted by its author, or expired.
    MessageDeleted {
        /// Its id.
        message_id: EventId,
    },
    /// A reaction arrived.
    ReactionAdded {
        /// The reaction.
        reaction: Reaction,
    },
    /// A reaction was deleted by its author, expired, or was lost with its branch. The emoji is empty where it was text.
    ReactionRemoved {
        /// The reaction.
        reaction: Reaction,
    },
    /// A Welcome was verified and waits for an answer.
    Invited {
        /// The invite.
        invite: Invite,
    },
    /// An invite was accepted, or a group of ours came to be.
    Joined {
        /// The group.
        group: GroupInfo,
    },
    /// Our last leaf is gone: removed by an admin, or a leave was answered.
    Removed {
        /// The account that committed it.
        by: Option<PublicKey>,
        /// Whether we had asked for it.
        left: bool,
        /// Digest of the commit.
        commit: Option<ContentId>,
    },
    /// Accounts came or went.
    MembersChanged {
        /// Accounts with a first leaf.
        added: BTreeSet<PublicKey>,
        /// Accounts whose last leaf was removed.
        removed: BTreeSet<PublicKey>,
        /// Accounts that left by themselves.
        left: BTreeSet<PublicKey>,
        /// The committer. None if no single member did it: it came with several commits, or only takes back a withdrawn
        /// change.
        by: Option<PublicKey>,
        /// Digest of the commit.
        commit: Option<ContentId>,
    },
    /// Settings changed: names among name, description, relays, admins, retention, image, avatar, media,
    /// agent_stream, required, other.
    GroupUpdated {
        /// The changed settings.
        changed: BTreeSet<&'static str>,
        /// The committer, or None as in `MembersChanged`.
        by: Option<PublicKey>,
        /// Digest of the commit.
        commit: Option<ContentId>,
    },
    /// The epoch advanced. The log keeps the newest 256 of a group: an older one is part of the one after it.
    EpochChanged {
        /// The epoch before: that of the older one, if this stands for several.
        old: u64,
        /// The epoch after.
        new: u64,
        /// Digest of the commit.
        commit: Option<ContentId>,
    },
    /// Messages of a branch that lost.
    MessagesInvalidated {
        /// Their ids.
        message_ids: Vec<EventId>,
    },
    /// A change that was reported is not true after all: another branch won. All events of the change name this commit.
    /// The reader need undo nothing: the events that follow are the difference from the state that was shown before. A
    /// change that both this commit and the winner made is not told again. A difference that only takes this change
    /// back has no `by`. A disband of ours is made again by itself as long as we are an admin on the winner; otherwise
    /// this is its failure.
    ChangeWithdrawn {
        /// Digest of the commit.
        commit: ContentId,
    },
    /// Events came when nothing could open them any more, or they were dropped after a long wait: thirty days, or until
    /// the group ended. It is told by `settle`, when everything that there is has been given, or when they are dropped.
    /// Messages from before we joined do not count, as far as they can be told apart: an event that was held while all
    /// states of ours were there does not count, and an event that claims to be more than a day older than our joining
    /// does not either.
    ///
    /// The second case: a relay has more events of one second than it gives at one time, and they were not there
    /// before. Nobody can ask for the rest. The count is 0 then, because nobody knows it; another relay may have given
    /// them. It is told by [`Engine::report_unpaged`](crate::Engine::report_unpaged), once for an hour of a group.
    ///
    /// The third case: we could not follow the group, and an invite led us to the others (`Unrecoverable` for
    /// `left_behind`). Messages may be missing from the time we last heard of them to the invite, and the count is 0 as
    /// well.
    ///
    /// The fourth case: later messages of their senders show that messages of an epoch never came, and the epoch has
    /// left those that can still be read. The times are those of the epoch. A sender may have given up a message after
    /// it was encrypted; it is counted as well. A message that comes after that cannot be told from any other that comes
    /// too late, so it is counted in both: the sum of all counts may be more than what is missing.
    HistoryGap {
        /// The number of events; 0 when that is not known.
        count: u64,
        /// The claimed time of the first of them, Unix seconds.
        first: u64,
        /// The claimed time of the last of them, Unix seconds.
        last: u64,
    },
    /// A removed member, or a demoted admin, is back: another branch won. The group is contested until the removal
    /// holds again, or [`Engine::accept_members`](crate::Engine::accept_members) is called; meanwhile nothing can be
    /// said in it. An admin who had made the removal makes it again by itself.
    RemovalUndone {
        /// The account.
        account: PublicKey,
        /// The account had been demoted, and is an admin again.
        demoted: bool,
        /// The account that made the first commit of the branch that won.
        by: Option<PublicKey>,
        /// The time, Unix seconds by our clock.
        at: u64,
    },
    /// There was more of a member, or of the group, than is kept ([`Config`](crate::Config)). The oldest messages went,
    /// of that member or of the member of whom the group had most. Told once for an hour of a group.
    HistoryTrimmed {
        /// The member whose messages went.
        sender: PublicKey,
    },
    /// A commit came that cannot be judged here, most often because it adds somebody whose KeyPackage has expired since,
    /// and ten minutes later the group still stands before it. If the others took it in time, only a new invite helps
    /// (rule: F1-12). Told once for each state, and no verdict: any member can send such a commit, and with a clock that
    /// is far ahead every KeyPackage has expired.
    ///
    /// The second case: a branch that is not followed here removes this account, and events after it cannot be read
    /// (rule: D8-8). The third case: members that are no admins have made everything here for five epochs, and an
    /// event came that cannot be read (rule: D8-9). The fourth case: this member went over to another branch, and who
    /// has its last commit on the former one cannot (rule: D8-10). The others may be elsewhere: the group is
    /// contested until somebody else is heard here.
    CannotFollow {
        /// The epoch that the group stands in here.
        epoch: u64,
    },
    /// State that the group needs is lost: only a new invite, or a backup, helps.
    Unrecoverable {
        /// `retained_state_lost`, `own_commit_lost`; or `joined_on_a_lost_branch`: the branch that we were invited on
        /// has lost; or `left_behind`: the others have gone on where we could not follow. After the latter two, the
        /// others' invitation follows at once.
        reason: String,
    },
    /// The group was ended by an admin.
    Disbanded {
        /// The account.
        by: Option<PublicKey>,
    },
    /// The delivery state of a message of ours changed.
    DeliveryChanged {
        /// Its id.
        message_id: EventId,
        /// The new state.
        delivery: Delivery,
        /// Relay URL, and the relay's words against the message.
        errors: Vec<(String, String)>,
    },
    /// An invite of ours is refused by every relay and is tried again (queued), reached one after that (accepted), or was
    /// given up (failed). Nothing is said of one that goes its way.
    InviteDeliveryChanged {
        /// The account that was invited.
        account: PublicKey,
        /// The new state.
        delivery: Delivery,
        /// Relay URL, and the relay's words against the invite.
        errors: Vec<(String, String)>,
    },
}
