//! What a member that is not ours says: commits, proposals, messages, and the 445 events around them.

use mdk_wire::{Event, GroupMessage, Keys, OsRandom, Secret, UnsignedEvent, group_message, kind};
use openmls::component::ComponentData;
use openmls::group::{
    AppDataDictionaryUpdater, MlsGroupJoinConfig, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY,
    PURE_PLAINTEXT_WIRE_FORMAT_POLICY,
};
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::{
    AppDataUpdateOperation, AppDataUpdateProposal, KeyPackage, LeafNodeIndex, LeafNodeParameters,
    MlsMessageIn, ProcessedMessageContent, Proposal, ProposalOrRefType, Propose, ProtocolMessage,
    StagedCommit,
};
use openmls_traits::OpenMlsProvider as _;

use super::{Foreign, resigned};
use crate::kit::now;

/// A commit to make. `proposals` go by value; AppDataUpdates among them (and among stored ones) are applied.
#[derive(Default)]
pub struct Change {
    pub adds: Vec<KeyPackage>,
    pub removes: Vec<u32>,
    pub proposals: Vec<Proposal>,
    /// Forces a path; MLS demands one for removals and empty commits anyway.
    pub path: bool,
    /// Takes up the proposals in the OpenMLS store (own and processed ones).
    pub by_reference: bool,
    /// Another leaf in the path.
    pub leaf: Option<LeafNodeParameters>,
    /// The dictionary changes that the commit really makes, instead of those of its proposals.
    pub updates: Option<Vec<(u16, Option<Vec<u8>>)>>,
}

impl Change {
    /// Takes up what was proposed, and nothing else.
    pub fn by_reference() -> Self {
        Self { by_reference: true, path: true, ..Self::default() }
    }
}

pub fn update(id: u16, data: &[u8]) -> Proposal {
    Proposal::AppDataUpdate(Box::new(AppDataUpdateProposal::update(id, data.to_vec())))
}

pub fn remove(id: u16) -> Proposal {
    Proposal::AppDataUpdate(Box::new(AppDataUpdateProposal::remove(id)))
}

pub struct Committed {
    pub commit: Vec<u8>,
    /// MLSMessage(Welcome) for all that were added.
    pub welcome: Option<Vec<u8>>,
}

impl Foreign {
    pub fn try_commits(&mut self, change: Change) -> Result<Committed, String> {
        let Self { group, provider, signer, .. } = self;
        let group = group.as_mut().expect("in a group");
        let mut builder = group
            .commit_builder()
            .consume_proposal_store(change.by_reference)
            .force_self_update(change.path)
            .propose_adds(change.adds)
            .propose_removals(change.removes.into_iter().map(LeafNodeIndex::new))
            .add_proposals(change.proposals);
        if let Some(parameters) = change.leaf {
            builder = builder.leaf_node_parameters(parameters);
        }
        let mut builder = builder
            .load_psks(provider.storage())
            .map_err(|e| e.to_string())?
            .create_group_info(false);
        let mut updater = AppDataDictionaryUpdater::new(None);
        if let Some(updates) = change.updates {
            for (id, data) in updates {
                match data {
                    Some(data) => updater.set(ComponentData::from_parts(id, data.into())),
                    None => updater.remove(&id),
                }
            }
        } else {
            for proposal in builder.app_data_update_proposals() {
                set(&mut updater, proposal);
            }
        }
        builder.with_app_data_dictionary_updates(updater.changes());
        let bundle = builder
            .build(provider.rand(), provider.crypto(), signer, |_| true)
            .map_err(|e| e.to_string())?
            .stage_commit(provider)
            .map_err(|e| e.to_string())?;
        Ok(Committed {
            commit: bundle.commit().tls_serialize_detached().unwrap(),
            welcome: bundle
                .to_welcome_msg()
                .map(|welcome| welcome.tls_serialize_detached().unwrap()),
        })
    }

    /// Stages a commit. `merges` or `forgets` it afterwards.
    pub fn commits(&mut self, change: Change) -> Committed {
        self.try_commits(change).expect("OpenMLS makes it")
    }

    pub fn merges(&mut self) {
        let group = self.group.as_mut().expect("in a group");
        group.merge_pending_commit(&self.provider).unwrap();
        let group = self.group.take().expect("in a group");
        self.set_group(group);
    }

    /// Drops the pending commit and all stored proposals.
    pub fn forgets(&mut self) {
        let group = self.group.as_mut().expect("in a group");
        group.clear_pending_commit(self.provider.storage()).unwrap();
        group.clear_pending_proposals(self.provider.storage()).unwrap();
    }

    /// A standalone proposal, which also stays in the OpenMLS store.
    pub fn proposes(&mut self, proposal: Propose) -> Vec<u8> {
        let group = self.group.as_mut().expect("in a group");
        let (message, _) = group
            .propose(&self.provider, &self.signer, proposal, ProposalOrRefType::Reference)
            .expect("OpenMLS makes it");
        message.tls_serialize_detached().unwrap()
    }

    /// A standalone AppDataUpdate (`None` removes the component).
    pub fn proposes_update(&mut self, id: u16, data: Option<&[u8]>) -> Vec<u8> {
        let operation = match data {
            Some(data) => AppDataUpdateOperation::Update(data.to_vec().into()),
            None => AppDataUpdateOperation::Remove,
        };
        let group = self.group.as_mut().expect("in a group");
        let (message, _) = group
            .propose_app_data_update(&self.provider, &self.signer, id, operation)
            .expect("OpenMLS makes it");
        message.tls_serialize_detached().unwrap()
    }

    pub fn proposes_self_remove(&mut self) -> Vec<u8> {
        let group = self.group.as_mut().expect("in a group");
        let message = group
            .leave_group_via_self_remove(&self.provider, &self.signer)
            .expect("OpenMLS makes it");
        message.tls_serialize_detached().unwrap()
    }

    /// A sealed proposal.
    pub fn proposal_event(&mut self, proposal: Propose) -> Event {
        let bytes = self.proposes(proposal);
        self.seals(&bytes)
    }

    /// As [`Foreign::proposes_update`], sealed.
    pub fn update_event(&mut self, id: u16, data: Option<&[u8]>) -> Event {
        let bytes = self.proposes_update(id, data);
        self.seals(&bytes)
    }

    /// A sealed SelfRemove.
    pub fn leave_event(&mut self) -> Event {
        let bytes = self.proposes_self_remove();
        self.seals(&bytes)
    }

    /// How handshakes are framed from now on, and how many bytes messages are padded to.
    pub fn frames(&mut self, private_handshakes: bool, padding: usize) {
        let policy = if private_handshakes {
            PURE_CIPHERTEXT_WIRE_FORMAT_POLICY
        } else {
            PURE_PLAINTEXT_WIRE_FORMAT_POLICY
        };
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(policy)
            .use_ratchet_tree_extension(true)
            .max_past_epochs(5)
            .padding_size(padding)
            .build();
        self.group
            .as_mut()
            .expect("in a group")
            .set_configuration(self.provider.storage(), &config)
            .unwrap();
    }

    // ---- Messages and 445

    /// An application message with any plaintext.
    pub fn encrypts(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.encrypts_with(plaintext, &[])
    }

    /// As `encrypts`, with authenticated data.
    pub fn encrypts_with(&mut self, plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
        let group = self.group.as_mut().expect("in a group");
        if !aad.is_empty() {
            group.set_aad(aad.to_vec());
        }
        let message = group
            .create_message(&self.provider, &self.signer, plaintext)
            .expect("OpenMLS makes it");
        message.tls_serialize_detached().unwrap()
    }

    /// The payload of a chat message by this account.
    pub fn payload(&self, text: &str) -> UnsignedEvent {
        UnsignedEvent {
            pubkey: self.key(),
            created_at: now(),
            kind: kind::CHAT,
            tags: Vec::new(),
            content: text.to_owned(),
        }
    }

    /// A chat message as a 445 event.
    pub fn says(&mut self, text: &str) -> Event {
        let payload = self.payload(text).to_json();
        let bytes = self.encrypts(payload.as_bytes());
        self.seals(&bytes)
    }

    /// The key of this epoch's 445 events. Ask before merging a commit: commits go under the old epoch's key.
    pub fn epoch_key(&self) -> Secret<32> {
        let secret =
            self.mls().export_secret(self.provider.crypto(), "marmot", b"group-event", 32).unwrap();
        Secret::new(secret.try_into().unwrap())
    }

    /// Seals an MLSMessage under this epoch's key.
    pub fn seals(&self, mls_message: &[u8]) -> Event {
        self.seals_under(mls_message, &self.epoch_key())
    }

    pub fn seals_under(&self, mls_message: &[u8], key: &Secret<32>) -> Event {
        group_message::seal(mls_message, key, &self.route, now(), None, &mut OsRandom).unwrap()
    }

    /// A 445 event after `change`, signed by `author`.
    pub fn seals_with(
        &self,
        mls_message: &[u8],
        author: &Keys,
        change: impl FnOnce(&mut UnsignedEvent),
    ) -> Event {
        resigned(&self.seals(mls_message), author, change)
    }

    /// Follows a 445 event of the group: merges commits, stores proposals, returns an application plaintext.
    pub fn follows(&mut self, event: &Event) -> Option<Vec<u8>> {
        let staged = match self.processes(event) {
            ProcessedMessageContent::ApplicationMessage(message) => {
                return Some(message.into_bytes());
            }
            ProcessedMessageContent::ProposalMessage(proposal) => {
                let Self { group, provider, .. } = self;
                let group = group.as_mut().expect("in a group");
                group.store_pending_proposal(provider.storage(), *proposal).unwrap();
                return None;
            }
            commit => self.stages(commit),
        };
        let mut group = self.group.take().expect("in a group");
        group.merge_staged_commit(&self.provider, staged).unwrap();
        self.set_group(group);
        None
    }

    /// A commit of somebody else, which is not merged.
    pub fn reads_commit(&mut self, event: &Event) -> StagedCommit {
        let commit = self.processes(event);
        self.stages(commit)
    }

    fn processes(&mut self, event: &Event) -> ProcessedMessageContent {
        let sealed = GroupMessage::parse(event.clone()).unwrap();
        let bytes = sealed.open(&self.epoch_key()).expect("sealed under this epoch's key");
        let message = MlsMessageIn::tls_deserialize_exact_bytes(&bytes).unwrap();
        let message: ProtocolMessage = message.try_into_protocol_message().unwrap();
        let group = self.group.as_mut().expect("in a group");
        group.process_message(&self.provider, message).unwrap().into_content()
    }

    fn stages(&mut self, commit: ProcessedMessageContent) -> StagedCommit {
        let Self { group, provider, .. } = self;
        let group = group.as_mut().expect("in a group");
        match commit {
            ProcessedMessageContent::StagedCommitMessage(staged) => *staged,
            ProcessedMessageContent::UnresolvedAppDataCommit(commit) => {
                let mut updater = AppDataDictionaryUpdater::new(None);
                for proposal in commit.app_data_update_proposals() {
                    set(&mut updater, proposal);
                }
                group.stage_app_data_commit(provider, *commit, updater.changes()).unwrap()
            }
            _ => panic!("not a commit"),
        }
    }
}

/// Every update replaces the whole component.
fn set(updater: &mut AppDataDictionaryUpdater<'_>, proposal: &AppDataUpdateProposal) {
    let id = proposal.component_id();
    match proposal.operation() {
        AppDataUpdateOperation::Update(data) => {
            updater.set(ComponentData::from_parts(id, data.clone()))
        }
        AppDataUpdateOperation::Remove => updater.remove(&id),
    }
}
