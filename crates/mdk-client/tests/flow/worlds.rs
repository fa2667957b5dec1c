//! Worlds by seed: relays die, restart empty, refuse and repeat, clients are killed. What was said arrives at everybody,
//! once; or its author is told that it failed, and in which words each relay refused it; or that its branch lost.
//! tests/sampling.json says how many; `MDK_CLIENT_WORLDS=1 MDK_SEED=7` plays one.

use std::time::Duration;

use futures_util::future::select_all;
use mdk_core::{Delivery, Error, GroupUpdate, NewMessage};
use mdk_relay::{Faults, LocalRelay};
use mdk_wire::GroupId;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::kit::*;
use super::outcome::{Lost, Tally};
use crate::sampling;

/// How long what is on its way takes at most.
const PATIENCE: Duration = Duration::from_secs(30);
const STEPS: usize = 80;
/// What each relay says when it refuses for good.
const WORDS: [&str; 2] = ["blocked: not by this one", "blocked: nor by the other"];

/// Whether relays of this world refuse for good: one now and then, and for some time all of them.
fn refuses_for_good(seed: u64) -> bool {
    seed % 2 == 1
}

struct Member {
    person: Option<Person>,
    account: Account,
    said: usize,
}

struct World {
    random: ChaCha8Rng,
    relays: Vec<LocalRelay>,
    members: Vec<Member>,
    group: GroupId,
    said: Vec<String>,
    log: Vec<String>,
    /// Relays refuse for good.
    blocks: bool,
    /// Which relays have lost what they had.
    wiped: [bool; 2],
}

impl World {
    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.random.next_u32()).unwrap() % most
    }

    fn urls(&self) -> Vec<String> {
        self.relays.iter().map(|relay| relay.url().to_owned()).collect()
    }

    async fn open(&mut self, at: usize) {
        let urls = self.urls();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let person = self.members[at].account.opens(options(&urls)).await;
        self.members[at].person = Some(person);
    }

    async fn new(seed: u64) -> Self {
        let mut relays = Vec::new();
        for _ in 0..2 {
            relays.push(relay().await);
        }
        let members = (0..3).map(|_| Member { person: None, account: Account::new(), said: 0 });
        let mut world = Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            relays,
            members: members.collect(),
            group: GroupId::from_bytes(&[1]).unwrap(),
            said: Vec::new(),
            log: Vec::new(),
            blocks: refuses_for_good(seed),
            wiped: [false; 2],
        };
        for at in 0..3 {
            world.open(at).await;
        }
        for member in &world.members {
            member.person.as_ref().unwrap().ready().await;
        }
        let urls = world.urls();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let people: Vec<&Person> = world.members.iter().flat_map(|m| &m.person).collect();
        let group = people[0].founds(&urls, &people[1..]).await;
        for person in &people[1..] {
            person.renewed(&group).await;
        }
        world.group = group;
        world
    }

    async fn step(&mut self) {
        let (what, at, which) = (self.below(100), self.below(3), self.below(2));
        self.log.push(format!("{what} {at} {which}"));
        let relay = &self.relays[which];
        match what {
            0..=59 => self.say(at),
            60..=63 => {
                let name = format!("{}", self.log.len());
                let group = self.group.clone();
                let update = GroupUpdate { name: Some(name), ..GroupUpdate::default() };
                // Whoever is no admin may not, and a group that is busy is left alone.
                let person = self.members[at].person.as_ref().unwrap();
                let _ = person.with(|engine| engine.update_group(&group, update).map(drop));
                person.client.nudge();
            }
            64..=71 => relay.pause().await,
            72..=79 => relay.resume().await.unwrap(),
            80..=82 => {
                relay.wipe().await;
                self.wiped[which] = true;
            }
            83..=85 => relay.cut().await,
            86..=88 if self.blocks => relay.refuse(Some([445].into()), WORDS[which]),
            86..=88 => relay.refuse(Some([445].into()), "rate-limited: not now"),
            89..=91 => relay.refuse(Some([].into()), ""),
            92..=93 => relay.faults(Faults {
                duplicate: true,
                reorder: Some(u64::from(self.random.next_u32())),
                ..Faults::default()
            }),
            94..=96 => {
                let delay = Duration::from_millis(u64::from(self.random.next_u32() % 20));
                relay.faults(Faults { delay: Some(delay), ..Faults::default() });
            }
            _ => {
                let Person { client, engine, .. } = self.members[at].person.take().unwrap();
                drop(engine.take());
                drop(client);
                self.open(at).await;
            }
        }
        // What is under way gets a different chance each time.
        for _ in 0..self.below(200) {
            tokio::task::yield_now().await;
        }
    }

    /// All relays are there, and refuse for good what is said in the group, until [`World::relents`].
    async fn refuses(&mut self, at: usize) {
        self.log.push(format!("all refuse {at}"));
        for (relay, words) in self.relays.iter().zip(WORDS) {
            relay.refuse(Some([445].into()), words);
            relay.resume().await.unwrap();
        }
        // The time is not over before something has failed.
        let member = &mut self.members[at];
        let text = format!("{at}.{}", member.said);
        member.said += 1;
        let person = member.person.as_ref().unwrap();
        let id = person.says(&self.group, &text).await;
        self.said.push(text);
        person
            .until("a failed message", |engine| {
                let message = engine.message(&self.group, &id).unwrap();
                (message.fate.delivery == Delivery::Failed).then_some(())
            })
            .await;
    }

    fn relents(&mut self) {
        self.log.push("nobody refuses".to_owned());
        for relay in &self.relays {
            relay.refuse(Some([].into()), "");
        }
    }

    fn say(&mut self, at: usize) {
        let member = &mut self.members[at];
        let text = format!("{at}.{}", member.said);
        let new = NewMessage { text: text.clone(), kind: 9, ..NewMessage::default() };
        let person = member.person.as_ref().unwrap();
        let group = self.group.clone();
        match person.with(|engine| engine.create_message(&group, new)) {
            Ok(_) => {
                member.said += 1;
                self.said.push(text);
                person.client.nudge();
            }
            Err(Error::CommitPending | Error::Settling { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Where everybody stands, for whoever looks for the reason.
    fn tell(&self, said: &[String]) {
        println!("{:?}", self.log);
        for (at, person) in self.members.iter().flat_map(|member| &member.person).enumerate() {
            let texts = person.texts(&self.group);
            let missing: Vec<_> = said.iter().filter(|s| !texts.contains(s)).collect();
            let info = person.with(|engine| engine.group(&self.group)).unwrap();
            println!("{at}: epoch {} {:?}, misses {missing:?}", info.epoch, info.state);
            println!("{:?}", person.client.stats());
            for message in person.history(&self.group).iter().filter(|m| m.is_mine) {
                println!(
                    "  {} epoch {} {:?}",
                    message.text, message.times.epoch, message.fate.delivery
                );
            }
            for item in person.with(|engine| engine.outbox(1000)).unwrap() {
                println!("  {:?} {:?}", item.purpose, item.results);
            }
            for event in person.with(|engine| engine.events(0, 100_000)).unwrap() {
                let text = format!("{:?}", event.body);
                if !text.starts_with("Message") && !text.starts_with("Delivery") {
                    println!("  {}", text.chars().take(70).collect::<String>());
                }
            }
        }
        for relay in &self.relays {
            println!("relay up {}, stored 445: {}", relay.is_up(), relay.events(445).len());
        }
    }

    async fn end(mut self) -> Tally {
        for relay in &self.relays {
            relay.faults(Faults::default());
            relay.refuse(Some([].into()), "");
            relay.resume().await.unwrap();
        }
        // What one of these lost, and refused for good when it was to have it again, the next connection gives it.
        for (relay, wiped) in self.relays.iter().zip(self.wiped) {
            if wiped && self.blocks {
                relay.cut().await;
            }
        }
        let said = std::mem::take(&mut self.said);
        for (at, member) in self.members.iter().enumerate() {
            let person = member.person.as_ref().unwrap();
            let mut changes = person.client.changes();
            let all = async {
                loop {
                    changes.borrow_and_update();
                    let (texts, lost) = (person.texts(&self.group), self.lost());
                    if said.iter().all(|text| texts.contains(text) || lost.has(text)) {
                        break;
                    }
                    changes.changed().await.unwrap();
                }
            };
            if tokio::time::timeout(PATIENCE, all).await.is_err() {
                self.tell(&said);
                panic!("member {at} misses messages");
            }
        }
        // A race that was near the end may still be decided, by one of them before the others.
        let mut changes: Vec<_> =
            self.members.iter().flat_map(|m| &m.person).map(|p| p.client.changes()).collect();
        let once = async {
            loop {
                changes.iter_mut().for_each(|change| drop(change.borrow_and_update()));
                let (told, others) = self.told(&said);
                if told == others {
                    break;
                }
                let next = changes.iter_mut().map(|change| Box::pin(change.changed()));
                select_all(next).await.0.unwrap();
            }
        };
        if tokio::time::timeout(PATIENCE, once).await.is_err() {
            let (told, others) = self.told(&said);
            assert_eq!(told, others, "what each member was told, and what the others said");
        }
        self.tally(&said)
    }

    /// Counts what became of everything, and sees that what did not arrive came to nobody twice.
    fn tally(&self, said: &[String]) -> Tally {
        let lost = self.lost();
        for person in self.members.iter().flat_map(|member| &member.person) {
            let told = person.told_for_good();
            for text in lost.failed.iter().chain(&lost.invalidated) {
                // A relay that had it all the same had taken it, and could not say so.
                let times = told.iter().filter(|told| *told == text).count();
                assert!(times <= 1, "{text} was told {times} times");
            }
        }
        Tally {
            delivered: said.iter().filter(|text| !lost.has(text)).count(),
            failed: lost.failed.len(),
            invalidated: lost.invalidated.len(),
        }
    }

    /// What each member was told, and what the others said, both without what was lost.
    fn told(&self, said: &[String]) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
        let lost = self.lost();
        let each = self.members.iter().enumerate().map(|(at, member)| {
            let own = format!("{at}.");
            let news = |text: &&String| !text.starts_with(&own) && !lost.has(text);
            let mut others: Vec<String> = said.iter().filter(news).cloned().collect();
            let mut told = member.person.as_ref().unwrap().told_for_good();
            told.retain(|text| !lost.has(text));
            told.sort_unstable();
            others.sort_unstable();
            (told, others)
        });
        each.unzip()
    }

    /// What did not come to everybody, if its author was told so in the right words.
    fn lost(&self) -> Lost {
        let refused: Vec<(String, String)> = self
            .relays
            .iter()
            .zip(WORDS)
            .map(|(relay, words)| (relay.url().to_owned(), words.to_owned()))
            .collect();
        let mut lost = Lost::default();
        for person in self.members.iter().flat_map(|member| &member.person) {
            lost.add(person, &self.group, &refused);
        }
        lost
    }
}

async fn world(seed: u64) -> Tally {
    let mut world = World::new(seed).await;
    let refuses = world.blocks.then(|| {
        let from = world.below(STEPS / 2);
        (from, from + 1 + world.below(STEPS / 4), world.below(3))
    });
    for step in 0..STEPS {
        match refuses {
            Some((from, _, at)) if step == from => world.refuses(at).await,
            Some((_, until, _)) if step == until => world.relents(),
            _ => {}
        }
        world.step().await;
    }
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_said_arrives_once_or_is_told_to_be_lost() {
    let (mut all, mut blocks) = (Tally::default(), 0);
    for seed in sampling::seeds("client_worlds") {
        println!("world {seed}");
        let tally = tokio::spawn(world(seed)).await.unwrap();
        println!("{tally:?}");
        blocks += usize::from(refuses_for_good(seed));
        all.add(&tally);
    }
    println!("of all: {all:?}");
    assert!(all.delivered > 0, "nothing was delivered");
    // In a few such worlds everything may happen to arrive before it is refused.
    assert!(all.failed > 0 || blocks < 6, "nothing failed where relays refuse for good");
}
