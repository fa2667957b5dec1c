//! The events that the account asks relays for.

use mdk_store::{GroupStatus, Tx};

use crate::model::call::Call;
use crate::model::error::Result;
use crate::model::membership;
use crate::model::values::Interest;
use crate::state_store::declined_invites::declined;
use crate::state_store::memberships;

/// Subscriptions for the account's inbox and for every live group, old routing ids and relays included.
pub(crate) fn interests(tx: &Tx<'_>, call: Call<'_>) -> Result<Vec<Interest>> {
    let me = call.me().to_hex();
    let mut interests = vec![Interest {
        filter: format!(r##"{{"kinds":[1059],"#p":["{me}"]}}"##),
        relays: Vec::new(),
    }];
    let declined = declined(tx)?;
    for row in tx.groups()? {
        // rule: D6-8 while a branch is known that would take us back, what belongs to it is asked for
        let returning = row.status != GroupStatus::Disbanded && row.pass.contested != 0;
        if membership::is_over(row.status) && !returning {
            continue;
        }
        // An inviter's relays are not to be dialled before the invite is answered.
        let status = match membership::is_out(row.status) {
            true => memberships::standing_before(tx, &row)?,
            false => row.status,
        };
        let declined = declined.contains(&row.id.to_hex());
        if membership::is_invited(status) && !declined {
            continue;
        }
        // Nor those of an invite that was declined whenever they do not answer: the caller says when.
        if declined && !call.hints.followed.contains(&row.id) {
            continue;
        }
        let ids: Vec<String> =
            tx.routes(&row.id)?.iter().map(|id| format!("\"{}\"", id.to_hex())).collect();
        if ids.is_empty() {
            continue;
        }
        // rule: 2.4-16 a commit goes to the relays of the epoch before it, and so does what others say who have not seen it
        let mut relays = row.relays;
        for relay in tx.retained_relays(&row.id)?.into_iter().flatten() {
            if !relays.contains(&relay) {
                relays.push(relay);
            }
        }
        let filter = format!(r##"{{"kinds":[445],"#h":[{}]}}"##, ids.join(","));
        interests.push(Interest { filter, relays });
    }
    Ok(interests)
}
