//! Trying messages on retained states: always on copies, so that nothing has to be undone.

use mdk_store::NodeRow;
use mdk_wire::v2::components::Lifecycle;
use mdk_wire::{GroupId, PublicKey, Secret, SecretVec};
use openmls::group::MlsGroup;
use openmls::prelude::{ProcessedMessageContent, ProtocolMessage};
use openmls_traits::OpenMlsProvider as _;

use crate::mls::proposals::resolve;
use crate::mls::rebuild_state::{Copies, Replica};
use crate::mls::refusal::{Refusal, refusal, sender_account};
use crate::mls::state_keys::{authenticator, event_key};
use crate::mls::{capabilities, settings, views};
use crate::model::error::{Error, Result};
use crate::model::halt::Halt;
use crate::model::membership::UNROUTED;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, RejectCode, Rejection};
use crate::model::settings::Look;
use crate::model::state_id::{ended_by, removed_by};
use crate::policy;
use crate::policy::ProposalView;

/// The result of a commit on a state.
pub(crate) enum Edge {
    /// It was not made on this state.
    Elsewhere,
    /// This state is not at hand.
    Missing,
    /// It was made on this state, and cannot be judged yet.
    Wait(DeferredReason),
    /// It is our own, and the data to realise it is lost.
    OwnLost,
    /// It leads to this state.
    Made(Box<NodeRow>),
}

/// The result of a proposal on a state.
pub(crate) enum Proposed {
    /// It was not made on this state.
    Elsewhere,
    /// This state is not at hand, or it is no proposal.
    Missing,
    /// It was made on this state.
    Made { sender: Option<PublicKey>, view: ProposalView },
}

/// The content of a message in a state.
pub(crate) enum Said {
    /// The state is not at hand.
    Missing,
    /// The state does not open it.
    Refused(Refusal),
    /// It claims to be our own.
    Own,
    /// The sender, and the bytes.
    Content(PublicKey, Vec<u8>),
}

impl Copies<'_> {
    /// Whether a leaf is that of an admin in a retained state.
    pub(crate) fn is_admin_in(
        &self,
        id: &GroupId,
        node: &NodeRow,
        leaf: &openmls::treesync::LeafNode,
    ) -> Result<bool> {
        let Some(state) = self.state_of(id, node)? else { return Ok(false) };
        let at = self.replica(id, &state)?;
        let settings = settings::settings(at.mls.public_group().group_context())
            .map_err(|_| Error::Internal("a retained state does not decode"))?;
        Ok(is_admin_of(&at.mls, &settings.admins, leaf))
    }

    /// The look of the group in a retained state, with its accounts.
    pub(crate) fn look_of(&self, id: &GroupId, node: &NodeRow) -> Result<Option<Look>> {
        let at = match self.state_of(id, node)? {
            Some(state) => Some(self.replica(id, &state)?),
            // rule: D6-14 what a commit does that takes us out is in the commit: others that it removes, and settings
            None if node.removed => self.stepped_again(id, node)?,
            None => None,
        };
        let Some(at) = at else { return Ok(None) };
        let settings = settings::settings(at.mls.public_group().group_context())
            .map_err(|_| Error::Internal("a retained state does not decode"))?;
        Ok(Some((settings, views::view_of_group(&at.mls).accounts().into_iter().collect())))
    }

    /// The look of a group in a state that we have no leaf in: as its commit left it, or at least without us.
    pub(crate) fn look_without_us(
        &self,
        id: &GroupId,
        nodes: &[NodeRow],
        node: &NodeRow,
    ) -> Result<Option<Look>> {
        if let Some(look) = self.look_of(id, node)? {
            return Ok(Some(look));
        }
        let last = nodes.iter().find(|n| Some(n.authenticator) == node.parent);
        let look = last.map(|last| self.look_of(id, last)).transpose()?.flatten();
        let me = self.call.me();
        Ok(look.map(|(mut settings, mut accounts)| {
            // (an admin goes from the list with the leaf, 2.6-1)
            settings.admins.retain(|admin| *admin != me);
            accounts.retain(|account| *account != me);
            (settings, accounts)
        }))
    }

    /// Tries a commit on a state (protocol/branches.md E3). Nothing is written.
    pub(crate) fn try_edge(
        &self,
        opened: &Opened,
        message: ProtocolMessage,
        parent: &NodeRow,
    ) -> Result<Edge, Halt> {
        let id = &opened.row.id;
        let Some(state) = self.state_of(id, parent)? else { return Ok(Edge::Missing) };
        let mut at = self.bare_replica(id, &state, &parent.authenticator)?;
        let Replica { provider, mls } = &mut at;
        let processed = match mls.process_message(provider, message) {
            Ok(processed) => processed,
            Err(error) => return edge_of(refusal(&error)),
        };
        let sender = processed.sender().clone();
        let account = sender_account(&processed);
        let staged = match resolve(provider, mls, processed) {
            Ok(staged) => staged,
            Err(refusal) => return edge_of(refusal),
        };
        let view = views::view_of_group(mls);
        let (commit, result) = views::view_of_staged(&view, mls, &sender, &staged)?;
        let class = policy::judge_commit(&view, &commit, &result)?;
        mls.merge_staged_commit(provider, *staged)
            .map_err(|_| Error::Internal("merging a verified commit"))?;
        Ok(Edge::Made(Box::new(self.node_after(opened, parent, &at, account, class.privileged)?)))
    }

    /// Our own commit leads where it led when it was staged (protocol/branches.md E2).
    pub(crate) fn own_edge(
        &self,
        opened: &Opened,
        parent: &NodeRow,
        state: &SecretVec,
    ) -> Result<Edge, Halt> {
        if state.expose().is_empty() {
            return Ok(Edge::OwnLost);
        }
        let mut at = self.replica(&opened.row.id, state)?;
        let view = views::view_of_group(&at.mls);
        let Some((commit, result)) = views::view_of_pending(&view, &at.mls) else {
            return Ok(Edge::OwnLost);
        };
        let class = policy::judge_commit(&view, &commit, &result)?;
        at.mls
            .merge_pending_commit(&at.provider)
            .map_err(|_| Error::Internal("merging our own commit"))?;
        let me = Some(self.call.me());
        Ok(Edge::Made(Box::new(self.node_after(opened, parent, &at, me, class.privileged)?)))
    }

    fn node_after(
        &self,
        opened: &Opened,
        parent: &NodeRow,
        at: &Replica<'_>,
        committer: Option<PublicKey>,
        privileged: bool,
    ) -> Result<NodeRow> {
        let id = &opened.row.id;
        let settings = settings::settings(at.mls.public_group().group_context())
            .map_err(|_| Error::Internal("merged state does not decode"))?;
        let removed = !at.mls.is_active();
        Ok(NodeRow {
            group: id.clone(),
            authenticator: match settings.lifecycle {
                _ if !removed => authenticator(&at.mls)?,
                Lifecycle::Disbanded => ended_by(&opened.content_id),
                Lifecycle::Active => removed_by(&opened.content_id),
            },
            epoch: at.mls.epoch().as_u64(),
            parent: Some(parent.authenticator),
            commit: Some(opened.content_id),
            committer,
            privileged,
            canonical: false,
            removed,
            history: self.groups.tx.newest_message()?,
            made_at: self.call.now_millis,
            sent_at: opened.sent_at,
            event_key: if removed {
                Secret::new([0; 32])
            } else {
                event_key(&at.mls, self.crypto)?
            },
            nostr_group_id: settings.nostr_group_id.unwrap_or(UNROUTED),
            relays: settings.relays,
            retention: settings.retention,
            state: if removed {
                SecretVec::new(Vec::new())
            } else {
                at.provider.storage().dump(id)?
            },
        })
    }

    /// Tries a proposal on a state.
    pub(crate) fn try_proposal(
        &self,
        id: &GroupId,
        message: ProtocolMessage,
        node: &NodeRow,
    ) -> Result<Proposed, Halt> {
        let Some(state) = self.state_of(id, node)? else { return Ok(Proposed::Missing) };
        let mut at = self.replica(id, &state)?;
        let processed = match at.mls.process_message(&at.provider, message) {
            Ok(processed) => processed,
            Err(error) => {
                return match edge_of(refusal(&error))? {
                    Edge::Elsewhere => Ok(Proposed::Elsewhere),
                    _ => Err(Rejection::new(
                        RejectCode::InvalidEncoding,
                        "D2-5",
                        "MLS validation fails",
                    )
                    .into()),
                };
            }
        };
        let sender = sender_account(&processed);
        let ProcessedMessageContent::ProposalMessage(proposal) = processed.into_content() else {
            return Ok(Proposed::Missing);
        };
        let view = views::proposal_view(&proposal);
        policy::judge_proposal(&views::view_of_group(&at.mls), &view)?;
        Ok(Proposed::Made { sender, view })
    }

    /// Opens a message in a state; the state's ratchets move with it.
    pub(crate) fn hear(
        &self,
        id: &GroupId,
        message: ProtocolMessage,
        node: &NodeRow,
    ) -> Result<Said, Halt> {
        let Some(state) = self.state_of(id, node)? else { return Ok(Said::Missing) };
        let mut at = self.replica(id, &state)?;
        let processed = match at.mls.process_message(&at.provider, message) {
            Ok(processed) => processed,
            Err(error) => return Ok(Said::Refused(refusal(&error))),
        };
        let sender = sender_account(&processed);
        let ProcessedMessageContent::ApplicationMessage(content) = processed.into_content() else {
            return Ok(Said::Own);
        };
        // rule: D3-1 the sender's leaf stands for an account
        let sender = sender.ok_or(Rejection::new(
            RejectCode::InvalidEncoding,
            "D3-1",
            "the sender's credential is not an account",
        ))?;
        self.groups.tx.set_node_state(id, &node.authenticator, &at.provider.storage().dump(id)?)?;
        Ok(Said::Content(sender, content.into_bytes()))
    }
}

fn edge_of(refusal: Refusal) -> Result<Edge, Halt> {
    match refusal {
        Refusal::Elsewhere => Ok(Edge::Elsewhere),
        Refusal::OwnLost => Ok(Edge::OwnLost),
        Refusal::Wait(reason) => Ok(Edge::Wait(reason)),
        Refusal::Reject(rejection) => Err(rejection.into()),
        Refusal::Fail(error) => Err(error.into()),
    }
}

/// Whether a leaf is that of one of these accounts in a group, by its signature key.
pub(crate) fn is_admin_of(
    mls: &MlsGroup,
    admins: &[PublicKey],
    leaf: &openmls::treesync::LeafNode,
) -> bool {
    mls.members().any(|member| {
        member.signature_key == leaf.signature_key().as_slice()
            && member.credential == *leaf.credential()
            && capabilities::account_of(&member.credential)
                .is_some_and(|account| admins.contains(&account))
    })
}
