//! `mdk.Mdk`: groups and the commits that change them.

use mdk_core::{Engine, Error, GroupUpdate, NewGroup, RequirementsUpdate};
use pyo3::prelude::*;
use pyo3::types::PyDelta;

use super::{Mdk, Object, Objects, stage};
use crate::args;
use crate::errors::{Class, Raise};
use crate::pending::PendingCommit;
use crate::signed_event::SignedEvent;
use crate::text::Text;
use crate::views::{self, ToPy};

#[pymethods]
impl Mdk {
    /// Founds a group. It exists when the PendingCommit is confirmed; publish its `welcomes` first.
    ///
    /// Args:
    ///     name: at most 256 bytes of UTF-8.
    ///     members: KeyPackage events (kind 30443) of the invitees.
    ///     relays: 1 to 16 relay URLs that carry the group; at most 512 bytes each.
    ///     description: at most 4096 bytes of UTF-8.
    ///     admins: admins besides ourselves; each must be among the invitees.
    ///     retention: messages disappear after this time; whole seconds, None for never.
    ///     media_servers: at most 16 servers (Blossom) for files of the group. Without any it gets the one that other
    ///         implementations found their groups with.
    ///
    /// Raises:
    ///     InvalidInput, InvalidRelayUrl: the arguments.
    ///     IncompatibleMember: a KeyPackage cannot be used.
    ///     GroupTooLarge: a Welcome would not fit into an event.
    #[pyo3(signature = (name, *, members=None, relays, description=Text::Fixed(""), admins=None, retention=None, media_servers=None))]
    #[pyo3(
        text_signature = "($self, name, *, members=(), relays, description='', admins=(), retention=None, media_servers=())"
    )]
    #[allow(clippy::too_many_arguments)] // of Python, by name
    fn create_group(
        slf: &Bound<'_, Self>,
        name: Text,
        members: Option<&Bound<'_, PyAny>>,
        relays: &Bound<'_, PyAny>,
        description: Text,
        admins: Option<&Bound<'_, PyAny>>,
        retention: Option<&Bound<'_, PyDelta>>,
        media_servers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PendingCommit> {
        let servers = media_servers.map(|urls| args::strings("media_servers", urls));
        let group = NewGroup {
            name: name.get("name")?.to_owned(),
            description: description.get("description")?.to_owned(),
            relays: args::relays(relays)?,
            members: members.map_or_else(|| Ok(Vec::new()), |m| args::events("members", m))?,
            admins: admins.map_or_else(|| Ok(Vec::new()), |a| args::public_keys("admins", a))?,
            retention: retention.map(|r| args::seconds("retention", r)).transpose()?,
            media_servers: servers.transpose()?.unwrap_or_default(),
        };
        stage(slf, |e| e.create_group(group))
    }

    /// The groups, as GroupInfo; with `state`, only those in that state.
    #[pyo3(signature = (*, state=None))]
    fn groups<'py>(&self, py: Python<'py>, state: Option<&Bound<'py, PyAny>>) -> Objects<'py> {
        let state = state.map(views::group_state).transpose()?;
        views::list(py, self.call(py, |e| e.groups(state))?)
    }

    /// A snapshot of one group: a GroupInfo.
    ///
    /// Raises:
    ///     GroupNotFound: there is none with this id.
    fn group<'py>(&self, py: Python<'py>, group_id: Text) -> Object<'py> {
        let group = args::group(&group_id)?;
        self.call(py, |e| e.group(&group))?.to_py(py)
    }

    /// Where files of a group go, as its settings say: base URLs of Blossom servers, in their order. A client uses them
    /// when its account has no servers of its own.
    ///
    /// Raises:
    ///     GroupNotFound: there is none with this id.
    ///     NotMember: out of this group.
    fn media_servers(&self, py: Python<'_>, group_id: Text) -> PyResult<Vec<String>> {
        let group = args::group(&group_id)?;
        self.call(py, |e| e.media_servers(&group))
    }

    /// The public address of a group's picture; None without one. Other apps show it rather than an encrypted picture.
    /// Somebody in the group wrote it, and whoever serves it learns who fetches it.
    ///
    /// Raises:
    ///     GroupNotFound: there is none with this id.
    ///     NotMember: out of this group.
    fn avatar_url(&self, py: Python<'_>, group_id: Text) -> PyResult<Option<String>> {
        let group = args::group(&group_id)?;
        self.call(py, |e| e.avatar_url(&group))
    }

    /// The member accounts of a group, as Member.
    fn members<'py>(&self, py: Python<'py>, group_id: Text) -> Objects<'py> {
        let group = args::group(&group_id)?;
        views::list(py, self.call(py, |e| e.members(&group))?)
    }

    /// Invites members. Publish `event` first, then `welcomes`, then confirm.
    ///
    /// Args:
    ///     key_packages: their KeyPackage events (kind 30443), one of each account.
    ///     promote: make them admins as well.
    ///
    /// Raises:
    ///     NotAdmin, CommitPending: not now, or not by us.
    ///     InvalidInput: an account that is a member already, our own, or one that comes twice. Other clients may give an
    ///         account several devices; from here it gets one.
    ///     IncompatibleMember: a KeyPackage cannot be used in this group.
    ///     GroupTooLarge: the commit or a Welcome would not fit into an event.
    #[pyo3(signature = (group_id, key_packages, *, promote=false))]
    fn add_members(
        slf: &Bound<'_, Self>,
        group_id: Text,
        key_packages: &Bound<'_, PyAny>,
        promote: bool,
    ) -> PyResult<PendingCommit> {
        let group = args::group(&group_id)?;
        let events = args::events("key_packages", key_packages)?;
        stage(slf, |e| {
            e.add_members(&group, &events, promote).map_err(|error| match error {
                // The founding of a group has the same argument under this name.
                Error::InvalidInput { field: "members", problem, limit, actual } => {
                    Error::InvalidInput { field: "key_packages", problem, limit, actual }
                }
                error => error,
            })
        })
    }

    /// Removes accounts with all their leaves.
    ///
    /// With `seal`, commits follow by tick(), two seconds apart, until no other branch can bring them back: five, also by
    /// others. GroupInfo.sealing counts down; a restart goes on. Somebody whose app is away over more than five commits may
    /// not be shown all that was said meanwhile: it is for who is hostile, not for who left the team.
    ///
    /// Raises:
    ///     NotAdmin, LastAdmin, CommitPending: not now, or not by us.
    ///     InvalidInput: somebody is not a member.
    #[pyo3(signature = (group_id, members, *, seal=false))]
    fn remove_members(
        slf: &Bound<'_, Self>,
        group_id: Text,
        members: &Bound<'_, PyAny>,
        seal: bool,
    ) -> PyResult<PendingCommit> {
        let group = args::group(&group_id)?;
        let members = args::public_keys("members", members)?;
        stage(slf, |e| match seal {
            true => e.remove_and_seal(&group, &members),
            false => e.remove_members(&group, &members),
        })
    }

    /// Says that members and admins are as they should be, after RemovalUndone: the group is contested no more.
    ///
    /// Raises:
    ///     GroupNotFound: there is none with this id.
    fn accept_members(&self, py: Python<'_>, group_id: Text) -> PyResult<()> {
        let group = args::group(&group_id)?;
        self.call(py, |e| e.accept_members(&group))
    }

    /// Changes settings; None leaves one as it is.
    ///
    /// Args:
    ///     name: at most 256 bytes of UTF-8.
    ///     description: at most 4096 bytes of UTF-8.
    ///     relays: 1 to 16 relay URLs; at most 512 bytes each.
    ///     rotate_routing: give the group another `nostr_group_id`, the number that relays see, drawn at random. Subscribe
    ///         to interests() anew when it is confirmed: the old number is among them for five more epochs.
    ///     admins: the whole new list; all of them members.
    ///     retention: whole seconds; timedelta(0) turns it off.
    ///     avatar_url: public https address of a picture, at most 2048 bytes, which takes the place of an encrypted picture
    ///         of the group; "" removes it. What it serves is not encrypted.
    ///     media_servers: as for create_group(); without any it gets the one that other implementations found their groups
    ///         with.
    ///
    /// Raises:
    ///     NotAdmin, LastAdmin, CommitPending: not now, or not by us.
    ///     InvalidInput, InvalidRelayUrl: the arguments, or none of them asks for a change.
    ///     GroupTooLarge: the commit would not fit into an event.
    #[pyo3(signature = (group_id, *, name=None, description=None, relays=None, rotate_routing=false, admins=None, retention=None, avatar_url=None, media_servers=None))]
    #[allow(clippy::too_many_arguments)] // of Python, by name
    fn update_group(
        slf: &Bound<'_, Self>,
        group_id: Text,
        name: Option<Text>,
        description: Option<Text>,
        relays: Option<&Bound<'_, PyAny>>,
        rotate_routing: bool,
        admins: Option<&Bound<'_, PyAny>>,
        retention: Option<&Bound<'_, PyDelta>>,
        avatar_url: Option<Text>,
        media_servers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PendingCommit> {
        let group = args::group(&group_id)?;
        if name.is_none()
            && description.is_none()
            && relays.is_none()
            && !rotate_routing
            && admins.is_none()
            && retention.is_none()
            && avatar_url.is_none()
            && media_servers.is_none()
        {
            slf.get().call(slf.py(), |e| e.group(&group))?;
            let fields = "name, description, relays, rotate_routing, admins, retention, avatar_url, \
                          media_servers";
            return Err(Raise::new(Class::InvalidInput, "nothing to change")
                .text("field", fields)
                .number("limit", Some(1))
                .number("value", Some(0))
                .text(
                    "hint",
                    "Give at least one of name, description, relays, admins, retention, avatar_url and \
                     media_servers, or rotate_routing=True.",
                )
                .into());
        }
        let text = |field, value: Option<Text>| {
            value.map(|value| value.get(field).map(str::to_owned)).transpose()
        };
        let update = GroupUpdate {
            name: text("name", name)?,
            description: text("description", description)?,
            relays: relays.map(args::relays).transpose()?,
            rotate_routing,
            admins: admins.map(|a| args::public_keys("admins", a)).transpose()?,
            retention: retention.map(|r| args::seconds("retention", r)).transpose()?,
            image: None,
            avatar_url: text("avatar_url", avatar_url)?
                .map(|url| Some(url).filter(|u| !u.is_empty())),
            media_servers: media_servers.map(|m| args::strings("media_servers", m)).transpose()?,
        };
        stage(slf, |e| e.update_group(&group, update))
    }

    /// Requires more of every member's client, or gives components of the group up. Who does not support what is required
    /// cannot be invited afterwards; every member has to support it already. Ids are those of the protocol, 0 to 65535.
    ///
    /// Args:
    ///     components: components that become required, e.g. 0x8005, disappearing messages. One that the group does not
    ///         have begins with its empty state. 0x800c gives an older group the lifecycle without which it cannot be
    ///         disbanded; that takes a commit of its own.
    ///     extensions: MLS extensions that become required.
    ///     proposals: MLS proposals that become required.
    ///     remove: components that the group gives up: what they say, and that they are required. Their setting is then as
    ///         if nobody had ever set it: without 0x8005 new messages stay for ever. 0x0001, 0x8003, 0x8004, 0x8009 and
    ///         0x800c cannot go.
    ///
    /// Raises:
    ///     NotAdmin, CommitPending: not now, or not by us.
    ///     IncompatibleMember: `who` has the members whose clients do not support it.
    ///     InvalidInput: an id that is not known here, that the group does not have or that cannot go; the lifecycle
    ///         together with something else; or nothing would change.
    #[pyo3(signature = (group_id, *, components=None, extensions=None, proposals=None, remove=None))]
    #[pyo3(
        text_signature = "($self, group_id, *, components=(), extensions=(), proposals=(), remove=())"
    )]
    fn change_requirements(
        slf: &Bound<'_, Self>,
        group_id: Text,
        components: Option<&Bound<'_, PyAny>>,
        extensions: Option<&Bound<'_, PyAny>>,
        proposals: Option<&Bound<'_, PyAny>>,
        remove: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PendingCommit> {
        let group = args::group(&group_id)?;
        let change = RequirementsUpdate {
            components: args::ids("components", components)?,
            extensions: args::ids("extensions", extensions)?,
            proposals: args::ids("proposals", proposals)?,
            remove: args::ids("remove", remove)?,
        };
        stage(slf, |e| e.change_requirements(&group, &change))
    }

    /// Makes members admins.
    ///
    /// Raises:
    ///     NotAdmin, CommitPending: not now, or not by us.
    ///     InvalidInput: somebody is not a member.
    fn promote(
        slf: &Bound<'_, Self>,
        group_id: Text,
        members: &Bound<'_, PyAny>,
    ) -> PyResult<PendingCommit> {
        let group = args::group(&group_id)?;
        let members = args::public_keys("members", members)?;
        stage(slf, |e| e.promote(&group, &members))
    }

    /// Makes admins ordinary members. `seal` as in remove_members().
    ///
    /// Raises:
    ///     NotAdmin, LastAdmin, CommitPending: not now, or not by us.
    ///     InvalidInput: somebody is not an admin.
    #[pyo3(signature = (group_id, members, *, seal=false))]
    fn demote(
        slf: &Bound<'_, Self>,
        group_id: Text,
        members: &Bound<'_, PyAny>,
        seal: bool,
    ) -> PyResult<PendingCommit> {
        let group = args::group(&group_id)?;
        let members = args::public_keys("members", members)?;
        stage(slf, |e| match seal {
            true => e.demote_and_seal(&group, &members),
            false => e.demote(&group, &members),
        })
    }

    /// Replaces our leaf's keys: post-compromise security (RFC 9420, 12.1.2).
    ///
    /// Raises:
    ///     CommitPending, NotMember: not now.
    fn self_update(slf: &Bound<'_, Self>, group_id: Text) -> PyResult<PendingCommit> {
        let group = args::group(&group_id)?;
        stage(slf, |e| e.self_update(&group))
    }

    /// Ends the group for all members, for ever.
    ///
    /// Raises:
    ///     NotAdmin, CommitPending: not now, or not by us.
    fn disband(slf: &Bound<'_, Self>, group_id: Text) -> PyResult<PendingCommit> {
        let group = args::group(&group_id)?;
        stage(slf, |e| e.disband(&group))
    }

    /// Asks to be let go: returns the leave proposal (kind 445) to publish. We are out when a member has committed it.
    ///
    /// Raises:
    ///     NotMember, CommitPending: not now.
    ///     NotAllowed, LastAdmin: an admin must be demoted first. NotAllowed, too, when this epoch has the request already;
    ///     the first tick() after opening hands it out again.
    fn leave(&self, py: Python<'_>, group_id: Text) -> PyResult<SignedEvent> {
        let group = args::group(&group_id)?;
        self.call(py, |e| e.leave(&group)).map(SignedEvent)
    }

    /// Deletes a group that is over for us (left, removed, disbanded, unrecoverable) with all that was said in it. Nobody is
    /// told.
    ///
    /// A disbanded group stays disbanded; to one that we have left or were removed from a new invitation leads. Kept for
    /// that is a hash of its id with the epochs between which we were in it, and which events were processed. The next
    /// tick() takes what was erased out of the write-ahead log.
    ///
    /// Raises:
    ///     GroupNotFound: there is none with this id.
    ///     GroupSettling: what has put us out may still lose; with the milliseconds to wait.
    ///     NotAllowed: we are in it, an invite to it waits for an answer, its end is not final yet, or an invite of ours is
    ///         still on its way to a relay.
    fn delete_group(&self, py: Python<'_>, group_id: Text) -> PyResult<()> {
        let group = args::group(&group_id)?;
        self.call(py, |e| e.delete_group(&group))
    }

    /// Commits that are neither confirmed nor discarded, e.g. what a crash left: PendingCommit, oldest first.
    fn pending<'py>(slf: &Bound<'py, Self>) -> PyResult<Vec<PendingCommit>> {
        let pending = slf.get().call(slf.py(), Engine::pending)?;
        Ok(pending.into_iter().map(|commit| PendingCommit::new(slf, commit)).collect())
    }
}
