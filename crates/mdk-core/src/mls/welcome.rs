//! A Welcome: opened, and its signer judged.

use mdk_store::{GroupRow, Tx};
use mdk_wire::{Broken, EventId, KeyPackageRef, WelcomeRumor, WireError, welcome};
use openmls::group::{StagedWelcome, WelcomeError};
use openmls::prelude::tls_codec::DeserializeBytes as _;
use openmls::prelude::{CreationFromExternalError, MlsMessageBodyIn, MlsMessageIn, Welcome};

use crate::mls::rebuild_state::Copies;
use crate::mls::replay::is_admin_of;
use crate::mls::work::Work;
use crate::mls::{capabilities, settings, views};
use crate::model::error::{Error, Result};
use crate::model::halt::{Halt, reject};
use crate::model::invites::{Beside, keys};
use crate::model::membership;
use crate::model::membership::is_invited;
use crate::model::outcome::RejectCode;
use crate::policy;
use crate::state_store::previous_memberships::earlier;
use crate::state_store::removals_of_us;

/// A Welcome, opened and closed again.
pub(crate) struct Glance {
    pub(crate) said: Beside,
    /// Whether its maker is an admin in the group's row.
    pub(crate) vouched: bool,
    /// Whether its maker is an admin by our own account.
    pub(crate) known: bool,
}

/// Opens a Welcome and undoes it. One that would not be joined is refused.
pub(crate) fn glance_at(
    work: &mut Work<'_>,
    row: &GroupRow,
    invite: EventId,
    rumor: &WelcomeRumor,
) -> Result<Glance, Halt> {
    const UNDO: Halt = reject(RejectCode::AlreadyApplied, "B4-4", "the group is known already");
    let mut glance = None;
    let tx = work.records.tx;
    let undone = tx.savepoint(|_| {
        glance = Some(read_welcome(work, row, invite, rumor)?);
        Err::<(), Halt>(UNDO)
    });
    glance.ok_or_else(|| undone.err().unwrap_or(UNDO))
}

fn read_welcome(
    work: &mut Work<'_>,
    row: &GroupRow,
    invite: EventId,
    rumor: &WelcomeRumor,
) -> Result<Glance, Halt> {
    let provider = work.provider();
    let config = capabilities::join_config(work.records.call.config);
    let staged =
        StagedWelcome::build_from_welcome(&provider, &config, welcome_of(&rumor.mls_message)?)
            .and_then(|builder| builder.replace_old_group().skip_lifetime_validation().build())
            .map_err(|e| welcome_error(&e))?;
    // (there is no tree any more to look its key up in, where we are out)
    let vouched = !membership::is_over(row.status) && vouched(work, row, &staged)?;
    let signer = staged.welcome_sender_index().u32();
    work.records.tx.mls_delete(&row.id)?;
    let mls = staged.into_group(&provider).map_err(|e| welcome_error(&e))?;
    let view = views::view_of_joined(&mls);
    policy::judge_welcome(&view, signer)?;
    let settings = settings::settings(mls.public_group().group_context())?;
    let inviter = view.leaves.get(&signer).and_then(|leaf| leaf.account);
    let unsigned = || reject(RejectCode::InvalidSignature, "B4-7", "its maker has no account");
    let inviter = inviter.ok_or_else(unsigned)?;
    let known = match earlier(work.records.tx, row)?.filter(|before| !before.knows(row.welcomer)) {
        _ if membership::is_over(row.status) => row.admins.contains(&inviter),
        // An admin by the word of an invitation's maker alone is no admin to us.
        Some(before) => before.knows(Some(inviter)) || !is_invited(row.status) && vouched,
        None => vouched,
    };
    let said = Beside {
        welcome: *invite.as_bytes(),
        epoch: mls.epoch().as_u64(),
        made: rumor.created_at,
        inviter: *inviter.as_bytes(),
        name: settings.name,
        description: settings.description,
        member_count: view.accounts().len() as u64,
        admins: keys(&settings.admins),
        relays: settings.relays,
        received_at: work.records.now(),
    };
    Ok(Glance { said, vouched, known })
}

/// The Welcome in the bytes of a message.
pub(crate) fn welcome_of(bytes: &[u8]) -> Result<Welcome, Halt> {
    // rule: B4-2 one MLSMessage, a Welcome of the one ciphersuite
    let message = MlsMessageIn::tls_deserialize_exact_bytes(bytes)
        .map_err(|_| reject(RejectCode::InvalidEncoding, "B4-2", "not one MLSMessage"))?;
    let MlsMessageBodyIn::Welcome(welcome) = message.extract() else {
        return Err(reject(RejectCode::InvalidEncoding, "B4-2", "the MLSMessage is not a Welcome"));
    };
    if welcome.ciphersuite() != capabilities::CIPHERSUITE {
        let reason = "unknown ciphersuite";
        return Err(reject(RejectCode::UnsupportedRequiredFeature, "B4-2", reason));
    }
    Ok(welcome)
}

/// Whether the maker of a Welcome is an admin in the group as we know it, by its signature key. For one that leads on
/// from a removal of us: in the state before that, since on our branch its maker may be out.
pub(crate) fn vouched(work: &mut Work<'_>, row: &GroupRow, staged: &StagedWelcome) -> Result<bool> {
    let Ok(signer) = staged.welcome_sender() else { return Ok(false) };
    let group = work.take(&row.id)?;
    let known = is_admin_of(&group.mls, &row.admins, signer);
    work.put(group);
    if known {
        return Ok(true);
    }
    // rule: B4-24 who was put out by one whom our branch put out is invited back by that one
    let epoch = staged.group_context().epoch().as_u64();
    let Some((removal, _)) = removals_of_us::removal_before(work.records.tx, row, epoch)? else {
        return Ok(false);
    };
    let nodes = work.records.tx.nodes(&row.id)?;
    let parent = nodes.iter().find(|n| n.authenticator == removal).and_then(|n| n.parent);
    match nodes.iter().find(|n| Some(n.authenticator) == parent) {
        Some(before) => work.copies().is_admin_in(&row.id, before, signer),
        None => Ok(false),
    }
}

// rule: B4-37 the maker of an invitation to another branch is judged where the branches part, too
/// Whether the maker of a Welcome was an admin where we came in, which is all that we know of the state from which both
/// branches began: on ours it may have been put out since. Such a Welcome may be compared, and takes nothing from us.
pub(crate) fn vouched_before(
    copies: Copies<'_>,
    row: &GroupRow,
    staged: &StagedWelcome,
) -> Result<bool> {
    let Ok(signer) = staged.welcome_sender() else { return Ok(false) };
    let nodes = copies.groups.tx.nodes(&row.id)?;
    let began = nodes.iter().find(|n| n.canonical && n.parent.is_none() && !n.removed);
    began.map_or(Ok(false), |began| copies.is_admin_in(&row.id, began, signer))
}

/// The first entry of `secrets` for which we hold a private KeyPackage.
pub(crate) fn own_reference(tx: &Tx<'_>, mls_welcome: &[u8]) -> Result<KeyPackageRef, Halt> {
    for reference in welcome::recipients(mls_welcome).map_err(encoding)? {
        if tx.key_package(&reference)?.is_some() {
            return Ok(reference);
        }
    }
    Err(reject(
        RejectCode::WrongRecipient,
        "B4-3",
        "no KeyPackage that we (still) have is addressed",
    ))
}

/// Judges why OpenMLS refuses a Welcome.
pub(crate) fn welcome_error<E>(error: &WelcomeError<E>) -> Halt {
    let (code, reason) = match error {
        WelcomeError::NoMatchingKeyPackage | WelcomeError::JoinerSecretNotFound => {
            (RejectCode::WrongRecipient, "no KeyPackage that we (still) have is addressed")
        }
        WelcomeError::MissingRatchetTree => {
            (RejectCode::InvalidEncoding, "the ratchet tree is missing")
        }
        WelcomeError::InvalidGroupInfoSignature
        | WelcomeError::ConfirmationTagMismatch
        | WelcomeError::PublicGroupError(CreationFromExternalError::InvalidGroupInfoSignature) => {
            (RejectCode::InvalidSignature, "GroupInfo does not verify")
        }
        WelcomeError::UnsupportedCapability
        | WelcomeError::UnsupportedExtensions
        | WelcomeError::UnsupportedCiphersuite(_)
        | WelcomeError::UnsupportedMlsVersion => {
            (RejectCode::UnsupportedRequiredFeature, "the group requires what we do not support")
        }
        WelcomeError::GroupAlreadyExists => {
            (RejectCode::AlreadyApplied, "the group is known already")
        }
        WelcomeError::StorageError(_)
        | WelcomeError::PublicGroupError(CreationFromExternalError::WriteToStorageError(_)) => {
            return Halt::Failed(Error::Internal("storage of a Welcome"));
        }
        _ => (RejectCode::InvalidEncoding, "the Welcome does not open to a valid group"),
    };
    reject(code, "B4-6", reason)
}

pub(crate) const fn encoding(error: WireError) -> Broken {
    Broken { rule: "B4-2", error }
}
