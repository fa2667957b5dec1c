//! The share of the history that one member, and one group, may take.

use mdk_store::Share;
use mdk_wire::budget::member::MAX_CUT_AT_ONCE;
use mdk_wire::{GroupId, PublicKey};

use crate::model::call::Call;
use crate::model::error::Result;
use crate::model::limits::HOUR;
use crate::state_store::event_log::EventLog;
use crate::state_store::groups::Groups;
use crate::state_store::log_entry::Stored;

/// The part of the quota that is free after messages went, so that not each message makes others go.
const SLACK: u64 = 64;

/// Most that is kept.
#[derive(Clone, Copy)]
struct Most(Share);

impl Most {
    fn is_passed(self, share: Share) -> bool {
        share.messages > self.0.messages || share.bytes > self.0.bytes
    }

    /// The size to which the history is cut when messages go.
    fn lowered(self) -> Self {
        let less = |most: u64| most - most / SLACK;
        Self(Share { messages: less(self.0.messages), bytes: less(self.0.bytes) })
    }
}

/// The messages of members, and the limits to the kept ones.
pub(crate) struct HistoryQuota<'a> {
    pub(crate) call: Call<'a>,
    pub(crate) groups: Groups<'a>,
    pub(crate) log: EventLog<'a>,
}

impl HistoryQuota<'_> {
    // rule: 2.4-22 who says more than is kept loses the oldest of it, and nobody else loses anything
    /// Makes room after a message of a member came. The oldest messages go: a member who writes much for years keeps
    /// the new ones. A refusal would leave that member silent for ever.
    pub(crate) fn keep_to_quota(&mut self, group: &GroupId, sender: &PublicKey) -> Result<()> {
        let config = self.call.config;
        let own = Most(Share {
            messages: config.history.max_sender_messages,
            bytes: config.history.max_sender_bytes,
        });
        let all = Most(Share {
            messages: config.history.max_group_messages,
            bytes: config.history.max_group_bytes,
        });
        if own.is_passed(self.groups.tx.share(group, Some(sender))?) {
            let enough = own.lowered();
            self.cut(group, sender, |own, _| !enough.is_passed(own))?;
        }
        let total = self.groups.tx.share(group, None)?;
        if all.is_passed(total) {
            let enough = all.lowered();
            let by_bytes = total.bytes > config.history.max_group_bytes;
            while enough.is_passed(self.groups.tx.share(group, None)?)
                && let Some(largest) = self.groups.tx.largest_share(group, by_bytes)?
                && self.cut(group, &largest, |_, all| !enough.is_passed(all))?
            {}
        }
        Ok(())
    }

    /// Takes away a member's oldest messages, so many at most. Whether any went.
    fn cut(
        &mut self,
        group: &GroupId,
        sender: &PublicKey,
        enough: impl Fn(Share, Share) -> bool,
    ) -> Result<bool> {
        if self.groups.tx.cut_oldest(group, sender, MAX_CUT_AT_ONCE, enough)? == 0 {
            return Ok(false);
        }
        let floor = self.groups.current_row(group)?.pass.floor;
        self.groups.tx.purge_expired(group, floor)?;
        let hour = (self.call.now() / HOUR).to_be_bytes();
        self.log.emit(group, &hour, &Stored::HistoryTrimmed { sender: *sender.as_bytes() })?;
        Ok(true)
    }
}
