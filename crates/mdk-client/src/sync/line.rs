//! The line to one relay: does in turn what its machine orders, and tells it what comes of that.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::relay_sync::{Input, JobEnd, Opened};
use super::subscriptions::Opening;
use crate::catch_up::{self, Fetch, Outlet};
use crate::client::shared::Shared;
use crate::error::ClientError;

pub(crate) enum Order {
    Subscribe(Opening),
    Unsubscribe(Vec<u64>),
    /// Asked for once what was ordered before is done: what is said meanwhile is heard.
    Fetch(Fetch),
}

/// Runs until nobody orders any more; what is fetched then is given up.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    outlet: Outlet,
) {
    let (mut jobs, mut job) = (JoinSet::new(), 0);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Order::Subscribe(opening)) => {
                    let last = opening.new.last().map_or(0, |(id, _)| *id);
                    let opened = open(&shared, &outlet.relay, opening).await;
                    outlet.say(Input::Opened(last, opened)).await;
                }
                Some(Order::Unsubscribe(ids)) => end(&shared, &outlet.relay, ids).await,
                Some(Order::Fetch(fetch)) => {
                    job = fetch.job;
                    jobs.spawn(catch_up::run(shared.clone(), fetch, outlet.clone()));
                }
            },
            Some(ended) = jobs.join_next() => {
                if ended.is_err() {
                    // A bug of ours: as if the relay had failed.
                    outlet.say(Input::Ended(job, JobEnd::default())).await;
                }
            }
        }
    }
}

/// Opens subscriptions beside the former ones, unless the relay does not allow so many.
async fn open(shared: &Shared, relay: &str, opening: Opening) -> Opened {
    let (mut former, mut opened) = (opening.former, Opened::Well);
    if opening.crowded {
        end(shared, relay, std::mem::take(&mut former)).await;
    }
    for (id, filters) in opening.new {
        let mut one = shared.pool.subscribe(relay, &shared.me, id, filters.clone()).await;
        if matches!(one, Err(ClientError::Refused { .. })) && !former.is_empty() {
            end(shared, relay, std::mem::take(&mut former)).await;
            if opened == Opened::Well {
                opened = Opened::Late;
            }
            one = shared.pool.subscribe(relay, &shared.me, id, filters).await;
        }
        if let Err(error) = one {
            tracing::debug!("not subscribed: {error}");
            opened = Opened::Refused;
        }
    }
    opened
}

async fn end(shared: &Shared, relay: &str, ids: Vec<u64>) {
    for id in ids {
        shared.pool.unsubscribe(relay, &shared.me, id).await;
    }
}
