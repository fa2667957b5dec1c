//! What happened in a world, told on demand: who whoever looks for a fault has to follow.

use std::sync::LazyLock;

use mdk_core::{EventBody, Outcome, testing};
use mdk_wire::{Event, kind};

use super::tree::Auth;
use super::world::World;

static TOLD: LazyLock<bool> = LazyLock::new(|| std::env::var_os("MDK_SIM_STORY").is_some());

fn short(name: &[u8; 32]) -> String {
    name[..3].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl World {
    pub fn tell(&self, text: impl FnOnce(&Self) -> String) {
        if *TOLD {
            println!("{:>9} {}", self.now % 1_000_000_000, text(self));
        }
    }

    /// A state as the story calls it: its epoch and the first letters of its name.
    pub fn name(&self, state: Option<Auth>) -> String {
        state.map_or("out".into(), |state| format!("{}.{}", self.tree.epoch(&state), short(&state)))
    }

    /// What became of commits, proposals and Welcomes.
    pub fn tell_outcome(&self, who: usize, place: usize, outcome: &Outcome) {
        self.tell(|world| {
            let id = world.net.log[place].id;
            let what = match world.contents.get(&id) {
                Some(content) => format!("commit {}", short(content.as_bytes())),
                None if world.said.iter().any(|said| said.event == id) => "message".into(),
                None => match Event::from_json(world.net.log[place].json.as_bytes()) {
                    Ok(event) if event.kind() == kind::GIFT_WRAP => "a Welcome".into(),
                    _ => "other".into(),
                },
            };
            let at = world.name(world.members[who].tip);
            format!("{who} at {at} has {what} ({place}): {:?}", outcome.verdict)
        });
    }

    /// The messages that an outcome marks, and the states that they were said in.
    pub fn tell_marks(&self, who: usize, outcome: &Outcome) {
        for event in &outcome.events {
            let EventBody::MessagesInvalidated { message_ids } = &event.body else { continue };
            for said in self.said.iter().filter(|said| message_ids.contains(&said.id)) {
                self.tell(|world| {
                    let state = world.name(Some(said.state));
                    format!("{who} marks {} of {state}", short(said.id.as_bytes()))
                });
            }
        }
    }

    /// How everybody stands.
    pub fn tell_end(&mut self) {
        if !*TOLD {
            return;
        }
        let group = self.group.clone();
        for who in 0..self.members.len() {
            let state = self.state(who);
            let watch = self.call(who, |e| testing::watch(e, &group)).unwrap_or_default();
            let (tip, root) = (self.members[who].tip, self.members[who].root);
            println!(
                "member {who} {state:?} at {}, joined at {}, {} raw, {} Welcomes, {} commits wait",
                self.name(tip),
                self.name(root),
                watch.raw,
                watch.welcomes,
                watch.commits,
            );
            for place in watch.states.iter().chain(&watch.asleep) {
                println!(
                    "    {} on {} by {}{}{}",
                    self.name(Some(place.authenticator)),
                    place.parent.map_or("nothing".into(), |parent| short(&parent)),
                    place.commit.map_or("nothing".into(), |c| short(c.as_bytes())),
                    if place.removed { ", removed" } else { "" },
                    if place.followed { "" } else { ", beside" },
                );
            }
        }
        for line in self.tree.lines() {
            println!("{line}");
        }
    }
}
