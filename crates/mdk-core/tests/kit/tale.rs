//! Stories in text, of a [`Cast`]: `removal: alice removes bob` makes an event of that name, `bob takes removal` gives it to
//! him. A line has one or more deeds, parted by `;`; what stands behind `--` is a comment. What stands in brackets before a
//! line says in which cases it is played: `[restart] bob restarts`, `[!restart] bob waits 1s`. Whoever does something may be
//! several, as in `alice,bob`, or `all`.
//!
//! - Events: `says`, `renames` (both with the event's name as their text), `renews`, `removes bob`, `promotes bob`, `demotes
//!   bob`, `disbands`, `leaves`, `answers LEAVE`, `package` (a KeyPackage), `adds bob [PACKAGE]` (the Welcome is `NAME.w`),
//!   `offers` and `tries-to-add bob` (a rename and an addition that their maker gives up, and that a relay has taken). Several
//!   names: one after the other.
//! - Deeds: `takes EVENTS`, `applies EVENTS`, `reads EVENTS` (each gives its text), `gets EVENTS` (in one call), `waits 1s
//!   [x3]`, `clock -2h`, `settles` (everything was given), `restarts`, `enters`, `joins WELCOME`, `accepts [alice]`,
//!   `declines alice`, `copies NAME`.
//! - After what `takes` and `waits` name: `=waits`, `=rival` and so on for the verdict of each, and for what is told
//!   `hears:TEXT`, `asked` (an invitation), `by:bob` (one, of his), `unasked`, `led` (back, by an invitation) or `let-go`
//!   (from a branch that lost, by an invitation).
//! - Checks of somebody: `is STATE`, `named NAME` and `counts 3` (its group), `has TEXTS` (all that it has read, `!` where
//!   that is marked), `history TEXTS` (in that order), `invited-by NAMES`, `hands-out WELCOMES` (since its process began),
//!   `beside 1` (states), `holds 0` (events), `keeps 1` (Welcomes), `loses 2 1` (events of each gap that it was told of),
//!   `settled`, `settling [200]` (for so many milliseconds its commits have to wait), `listens`, `is-deaf` (to the group's
//!   relays).
//! - Checks of several: `with bob` (active, in his state, and they hear each other), `speaks bob`, `agrees bob` (in one
//!   state), `same bob` (with one history, too), `forgets bob` (commits on with him, until nothing is left that competed).

use std::collections::{BTreeMap, BTreeSet};

use mdk_core::{Clock, DeferredReason, EventBody, GroupState, Outcome, Verdict};
use mdk_wire::{Event, kind};

use super::acts::invited;
use super::cast::{Cast, Who};
use super::strays::gaps;
use super::{event, named, received};

/// A group, the events of its story, and what was told last.
pub struct Tale {
    pub cast: Cast,
    case: String,
    events: BTreeMap<String, Event>,
    told: BTreeMap<Who, Outcome>,
    /// What somebody's process has handed out since it began.
    handed_out: BTreeMap<Who, Vec<Event>>,
    route: String,
}

/// Plays a story: of a tale that has begun, or of these members in each of these cases. (A macro, so that the text stands as
/// it was written.)
macro_rules! story {
    ($tale:ident; $story:expr) => {
        $tale.plays($story)
    };
    ($members:expr, $cases:expr; $story:expr) => {
        crate::kit::tale::plays($members, &$cases, $story)
    };
}
pub(crate) use story;

/// Plays a story in each of these cases. The first of the members founds the group, those with a star are its admins, and
/// of two commits that compete alike the one of who stands first wins.
pub fn plays(members: &'static str, cases: &[&str], story: &'static str) {
    for case in cases {
        Tale::of(members, case).plays(story);
    }
}

impl Tale {
    pub fn of(members: &'static str, case: &str) -> Self {
        let members: Vec<Who> = members.split_whitespace().collect();
        let names: Vec<Who> = members.iter().map(|name| name.trim_end_matches('*')).collect();
        let admins = members[1..].iter().filter_map(|name| name.strip_suffix('*'));
        let admins: Vec<Who> = admins.collect();
        let mut cast = Cast::arranged(&names, &admins, |all| {
            all.sort_by_key(|filed| filed.member.key());
        });
        let route = cast.info(names[0]).nostr_group_id.to_hex();
        let case = case.to_owned();
        let (events, told, handed_out) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { cast, case, events, told, handed_out, route }
    }

    pub fn plays(&mut self, story: &'static str) -> &mut Self {
        for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
            println!("{} | {line}", self.case);
            let line = line.split(" -- ").next().unwrap_or_default();
            if let Some(deeds) = self.meant(line) {
                deeds.split(';').for_each(|deed| self.deed(deed.trim()));
            }
        }
        self
    }

    /// The same, so often.
    pub fn repeats(&mut self, times: usize, story: &'static str) {
        for _ in 0..times {
            self.plays(story);
        }
    }

    /// Whether the case has this word.
    pub fn is(&self, word: &str) -> bool {
        self.case.split_whitespace().any(|known| known == word)
    }

    pub fn event(&self, name: &str) -> Event {
        self.events.get(name).unwrap_or_else(|| panic!("there is no {name}")).clone()
    }

    /// What somebody was told by its last deed.
    pub fn told(&self, who: &str) -> &Outcome {
        &self.told[who]
    }

    /// The deeds of a line, if it is of this case.
    fn meant(&self, line: &'static str) -> Option<&'static str> {
        let Some((conditions, deeds)) = line.strip_prefix('[').and_then(|l| l.split_once(']'))
        else {
            return Some(line);
        };
        let holds = |word: &str| match word.strip_prefix('!') {
            Some(word) => !self.is(word),
            None => self.is(word),
        };
        conditions.split_whitespace().all(holds).then_some(deeds)
    }

    fn deed(&mut self, deed: &'static str) {
        let (names, deed) = deed.split_once(": ").unwrap_or(("", deed));
        let words: Vec<&'static str> = deed.split_whitespace().collect();
        let [who, verb, words @ ..] = &words[..] else { panic!("who does what? {deed}") };
        for name in names.split_whitespace() {
            self.makes(name, who, verb, words);
        }
        if names.is_empty() {
            let all = if *who == "all" { self.cast.names() } else { who.split(',').collect() };
            all.into_iter().for_each(|who| self.does(who, verb, words));
        }
    }

    fn makes(&mut self, name: &str, who: Who, verb: &str, words: &[Who]) {
        let cast = &mut self.cast;
        let made = match (verb, words) {
            ("says", []) => cast.says(who, name),
            ("renames", []) => cast.renames(who, name),
            ("renews", []) => cast.renews(who),
            ("removes", [whom]) => cast.removes(who, whom),
            ("promotes", [whom]) => cast.promotes(who, &[*whom]),
            ("demotes", [whom]) => cast.demotes(who, whom),
            ("disbands", []) => cast.disbands(who),
            ("leaves", []) => cast.leaves(who),
            ("answers", [leave]) => {
                let leave = self.events[*leave].clone();
                cast.answers(who, &leave)
            }
            ("offers", []) => {
                let made = cast.prepares(who, |e, group| e.update_group(group, named(name)));
                cast.engine(who).discard(made.id).unwrap();
                event(&made).clone()
            }
            ("tries-to-add", [whom]) => {
                cast.enters(whom);
                let package = cast.at(whom).member.key_package();
                let made = cast.prepares(who, |e, group| e.add_members(group, &[package], false));
                cast.engine(who).discard(made.id).unwrap();
                self.events.insert(format!("{name}.w"), made.welcomes[0].clone());
                event(&made).clone()
            }
            ("package", []) => {
                if !cast.names().contains(&who) {
                    cast.enters(who);
                }
                cast.at(who).member.key_package()
            }
            ("adds", [whom, package @ ..]) => {
                let added = match package {
                    [package] => {
                        let package = self.events[*package].clone();
                        cast.adds_by(who, &package)
                    }
                    _ => cast.adds(who, whom),
                };
                self.events.insert(format!("{name}.w"), added.welcome);
                added.commit
            }
            _ => panic!("what is {verb} {words:?}?"),
        };
        self.events.insert(name.to_owned(), made);
    }

    fn does(&mut self, who: Who, verb: &str, words: &[Who]) {
        let numbers = || words[0].parse::<usize>().expect("a number");
        match (verb, words) {
            ("takes" | "take" | "applies" | "apply" | "reads" | "read", _) => {
                self.takes(who, verb, words);
            }
            ("waits" | "wait", [time, rest @ ..]) => {
                let times = rest.iter().find_map(|word| word.strip_prefix('x'));
                let times = times.map_or(1, |times| times.parse().expect("how often"));
                let told = (0..times).map(|_| self.cast.waits(who, millis(time))).collect();
                self.hears(who, told, rest);
            }
            ("restarts" | "restart", []) => {
                self.cast.restarts(who);
                self.handed_out.remove(who);
            }
            ("enters", []) => self.cast.enters(who),
            ("clock", [jump]) => {
                let clock = &self.cast.at(who).member.clock;
                let seconds = i64::try_from(millis(&jump[1..]) / 1_000).unwrap();
                let seconds = if jump.starts_with('-') { -seconds } else { seconds };
                clock.set(Clock::now(clock).checked_add_signed(seconds).unwrap());
            }
            ("settles", []) => drop(self.cast.engine(who).settle().unwrap()),
            ("loses", lost) => {
                let lost: Vec<u64> = lost.iter().map(|count| count.parse().unwrap()).collect();
                assert_eq!(gaps(&mut self.cast.at(who).member), lost, "{who}");
            }
            ("joins", [welcome]) => {
                let welcome = self.event(welcome);
                self.cast.joins(who, &welcome);
            }
            ("accepts", []) => self.cast.accepts_all(who),
            ("accepts", [inviter]) => self.cast.accepts(who, inviter),
            ("declines", [inviter]) => self.cast.declines(who, inviter),
            ("copies", [copy]) => self.cast.copies(who, copy),
            ("is" | "are", [state]) => assert_eq!(self.cast.state(who), state_of(state), "{who}"),
            ("named", [name]) => assert_eq!(self.cast.name(who), *name, "{who}"),
            ("counts", _) => assert_eq!(self.cast.info(who).member_count, numbers(), "{who}"),
            ("has", texts) => self.has(who, texts),
            ("history", texts) => assert_eq!(self.cast.texts(who), texts, "{who}"),
            ("forgets", others) => self.cast.forgets_what_competed(who, others, &self.case),
            ("gets", names) => {
                let events: Vec<Event> = names.iter().map(|name| self.event(name)).collect();
                let told = self.cast.at(who).member.takes_all(&events);
                self.hears(who, told, &[]);
            }
            ("invited-by", inviters) => {
                let expected: Vec<_> = inviters.iter().map(|who| self.cast.key(who)).collect();
                assert_eq!(self.cast.inviters(who), expected, "{who}");
            }
            ("hands-out", welcomes) => {
                let ours =
                    |event: &Event| self.events.values().any(|known| known.id() == event.id());
                let out = self.handed_out.get(who).into_iter().flatten();
                let out: Vec<_> = out.filter(|e| e.kind() == kind::GIFT_WRAP && ours(e)).collect();
                let expected: Vec<_> = welcomes.iter().map(|name| &self.events[*name]).collect();
                assert_eq!(out, expected, "{who}");
            }
            ("beside", _) => assert_eq!(self.cast.beside(who), numbers(), "{who}"),
            ("holds", _) => assert_eq!(self.cast.watch(who).raw, numbers(), "{who}"),
            ("keeps", _) => assert_eq!(self.cast.watch(who).welcomes, numbers(), "{who}"),
            ("settled", []) => assert_eq!(self.cast.settles_in(who), None, "{who}"),
            ("settling", []) => assert!(self.cast.settles_in(who).is_some(), "{who}"),
            ("settling", _) => {
                assert_eq!(self.cast.settles_in(who), Some(numbers() as u64), "{who}");
            }
            ("with", [other]) => self.cast.is_with(who, other),
            ("speaks", others) => others.iter().for_each(|other| self.cast.speak(who, other)),
            ("speak", []) if who == self.cast.names()[0] => self.cast.all_speak(),
            ("speak", []) => {}
            ("agrees" | "agree", []) => self.cast.all_agree(&self.case),
            ("agrees" | "agree", others) => {
                self.cast.agree(&[&[who], others].concat(), &self.case);
            }
            ("same", others) => self.cast.same(&[&[who], others].concat()),
            ("listens", []) => assert!(self.cast.subscribes(who, &self.route), "{who}"),
            ("is-deaf", []) => assert!(!self.cast.subscribes(who, &self.route), "{who}"),
            _ => self.makes(verb, who, verb, words),
        }
    }

    fn takes(&mut self, who: Who, verb: &str, words: &[Who]) {
        let mut told = Vec::new();
        let applied = verb.starts_with("appl").then_some("applied");
        let verdict = words.iter().find_map(|word| word.strip_prefix('=')).or(applied);
        for name in words {
            let Some(event) = self.events.get(*name) else {
                let expected = name.contains(['=', ':']) || EXPECTED.contains(name);
                assert!(expected, "there is no {name}");
                continue;
            };
            let outcome = self.cast.takes(who, event);
            if let Some(verdict) = verdict {
                assert_eq!(word_of(&outcome.verdict), verdict, "{who} takes {name}");
            }
            if verb.starts_with("read") {
                assert_eq!(received(&outcome), [*name], "{who} reads it");
            }
            told.push(outcome);
        }
        self.hears(who, told, words);
    }

    /// What was told, and what it should be.
    fn hears(&mut self, who: Who, told: Vec<Outcome>, expected: &[Who]) {
        let told = told.into_iter().reduce(|mut told, more| {
            told.events.extend(more.events);
            told.reply.extend(more.reply);
            told
        });
        let told = told.expect("something that happens");
        for word in expected {
            let is_invited = invited(&told);
            match *word {
                "asked" => assert!(is_invited, "{who}: {:?}", told.events),
                "unasked" => assert!(!is_invited, "{who}: {:?}", told.events),
                "led" => is_led_back(&told),
                "let-go" => assert!(is_invited && is_lost(&told, "joined_on_a_lost_branch")),
                word if word.starts_with("hears:") => {
                    assert_eq!(received(&told), [&word[6..]], "{who}");
                }
                word => {
                    let Some(inviter) = word.strip_prefix("by:") else { continue };
                    let asked = told.events.iter().filter_map(|e| match &e.body {
                        EventBody::Invited { invite } => Some(invite.inviter),
                        _ => None,
                    });
                    assert_eq!(asked.collect::<Vec<_>>(), [self.cast.key(inviter)], "{who}");
                }
            }
        }
        self.handed_out.entry(who).or_default().extend(told.reply.clone());
        self.told.insert(who, told);
    }

    fn has(&mut self, who: Who, texts: &[Who]) {
        let read = self.cast.messages(who).into_iter();
        let read: BTreeSet<String> =
            read.map(|m| m.text + if m.fate.invalidated { "!" } else { "" }).collect();
        assert_eq!(read, texts.iter().map(|text| (*text).to_owned()).collect(), "{who}");
        assert_eq!(self.cast.messages(who).len(), texts.len(), "{who} has each once");
    }
}

const EXPECTED: [&str; 4] = ["asked", "unasked", "led", "let-go"];

/// Whether the copy is told to be lost, for this reason.
pub fn is_lost(told: &Outcome, why: &str) -> bool {
    let lost =
        |body: &EventBody| matches!(body, EventBody::Unrecoverable { reason } if reason == why);
    told.events.iter().any(|event| lost(&event.body))
}

/// A Welcome is taken up that leads back from a state where nobody is any more, and nothing of before is said to be untrue.
pub fn is_led_back(told: &Outcome) {
    let mut bodies = told.events.iter().map(|event| &event.body);
    let marked = bodies.any(|body| matches!(body, EventBody::MessagesInvalidated { .. }));
    assert!(is_lost(told, "left_behind") && invited(told) && !marked, "{:?}", told.events);
}

fn millis(time: &str) -> u64 {
    let at = time.find(|c: char| !c.is_ascii_digit()).expect("a time with its unit");
    let unit = match &time[at..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        other => panic!("what is {other}?"),
    };
    time[..at].parse::<u64>().expect("a number") * unit
}

fn word_of(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Applied => "applied",
        Verdict::Duplicate => "duplicate",
        Verdict::Rejected(_) => "rejected",
        Verdict::Deferred(reason) => match reason {
            DeferredReason::FutureEpoch => "waits",
            DeferredReason::Rival => "rival",
            DeferredReason::Undecryptable => "closed",
            DeferredReason::ResourceRefused => "refused",
            DeferredReason::CannotJudge => "cannot",
            DeferredReason::PublishInProgress => "publishing",
            other => other.as_str(),
        },
    }
}

fn state_of(word: &str) -> GroupState {
    match word {
        "active" => GroupState::Active,
        "leaving" => GroupState::Leaving,
        "left" => GroupState::Left,
        "removed" => GroupState::Removed,
        "pending" => GroupState::Pending,
        "disbanded" => GroupState::Disbanded,
        "unrecoverable" => GroupState::Unrecoverable,
        other => panic!("what is {other}?"),
    }
}
