//! Holds what came about against what a file expects.

use mdk_core::testing;
use openmls::prelude::tls_codec::DeserializeBytes as _;

use super::compared::{Compared, rule_name};
use super::expected::{Expected, TraceObservation, TraceResolution};
use super::format::{File, Profile};
use super::idle::Kept;
use super::observe::Observation;
use super::world::{Failed, World};

/// Every expectation that is not met, one sentence each.
pub fn judge(world: &mut World, file: &File) -> Vec<String> {
    let mut faults = Vec::new();
    for (i, expected) in file.outcomes.iter().enumerate() {
        match world.meets(expected) {
            Ok(None) => {}
            Ok(Some(fault)) => faults.push(format!("outcome {i}: {fault}")),
            Err(failed) => faults.push(format!("outcome {i}: {failed}")),
        }
    }
    if let Some(trace) = &file.trace {
        faults.extend(world.follows(&trace.observations, &trace.pending_resolutions));
    }
    if let Some(profile) = &file.profile {
        faults.extend(world.has_profile(profile));
    }
    faults
}

type Fault = Result<Option<String>, Failed>;

/// A difference as a sentence.
fn differs<T: PartialEq + std::fmt::Debug>(what: &str, wanted: &T, got: &T) -> Option<String> {
    (wanted != got).then(|| format!("{what}: wanted {wanted:?}, got {got:?}"))
}

fn sorted(list: &[String]) -> Vec<String> {
    let mut list = list.to_vec();
    list.sort();
    list
}

impl World {
    fn latest(&self, name: &str) -> Result<&Observation, Failed> {
        let client = self.client(name)?;
        let seen = self.observations.iter().rev().find(|o| o.client == client);
        // (of whom nothing but the admins was looked at, that look is the latest)
        let seen = seen.or_else(|| self.glances.get(&client));
        seen.ok_or_else(|| Failed::Runner(format!("{name} was not observed")))
    }

    fn same_texts(&self, what: &str, wanted: &[String], got: &[String]) -> Option<String> {
        // In another order of arrival, messages come in another order.
        if self.dice.is_some() {
            return differs(what, &sorted(wanted), &sorted(got));
        }
        differs(what, &wanted.to_vec(), &got.to_vec())
    }

    fn meets(&mut self, expected: &Expected) -> Fault {
        match expected {
            Expected::ClientState { client, .. } => {
                let fault = self.state_fault(expected)?;
                Ok(fault.map(|f| format!("{client}: {f}")))
            }
            Expected::GroupProfile { client, name, description } => {
                let seen = self.latest(client)?;
                let name = name.as_ref().and_then(|n| differs("name", n, &seen.name));
                let text = description.as_ref();
                let text = text.and_then(|d| differs("description", d, &seen.description));
                Ok(name.or(text).map(|f| format!("{client}: {f}")))
            }
            Expected::AdminPolicy { client, admins } => {
                let seen = self.glances.get(&self.client(client)?);
                let seen =
                    seen.ok_or_else(|| Failed::Runner(format!("{client} was not observed")))?;
                let fault = differs("admins", &sorted(admins), &sorted(&seen.admins));
                Ok(fault.map(|f| format!("{client}: {f}")))
            }
            Expected::ClientsConverged { clients, epoch, member_count } => {
                let of = |o: &Observation| {
                    (o.epoch, o.member_count, o.name.clone(), o.description.clone())
                };
                let Some(first) = clients.first() else { return Ok(None) };
                let first = of(self.latest(first)?);
                for name in clients {
                    let seen = of(self.latest(name)?);
                    if seen != first {
                        return Ok(Some(format!("{name} has {seen:?}, another {first:?}")));
                    }
                }
                let epoch = epoch.and_then(|e| differs("epoch", &e, &first.0));
                Ok(epoch.or(member_count.and_then(|n| differs("members", &n, &first.1))))
            }
            Expected::ClientsExactlyEquivalent { clients } => self.exactly(clients, true),
            Expected::ClientsNotEquivalent { clients } => self.exactly(clients, false),
            Expected::ClientsBidirectionallyDecryptable { clients } => {
                let wanted = clients.iter().map(|n| self.client(n)).collect::<Result<_, _>>()?;
                let probe = self.probes.iter().rev().find(|p| p.clients.is_superset(&wanted));
                let probe = probe.ok_or_else(|| Failed::Runner("these were not probed".into()))?;
                let meant = |(a, b): &&(String, String)| clients.contains(a) && clients.contains(b);
                let missing: Vec<_> = probe.missing.iter().filter(meant).collect();
                Ok((!missing.is_empty()).then(|| format!("not read: {missing:?}")))
            }
            Expected::ConvergenceDecision { client, .. } => {
                let meant = match client {
                    Some(name) => vec![self.client(name)?],
                    None => (0..self.clients.len()).collect(),
                };
                let compared: Vec<Compared> =
                    meant.into_iter().filter_map(|c| self.last_compared(c)).collect();
                if compared.is_empty() {
                    return Ok(Some("no branches were compared".into()));
                }
                let faults: Vec<_> = compared.iter().map(|c| decision_fault(expected, c)).collect();
                if faults.iter().any(Option::is_none) {
                    return Ok(None);
                }
                Ok(faults.into_iter().flatten().next())
            }
            Expected::ClientEpochChanges { client, changes } => {
                let client = self.client(client)?;
                let wanted: Vec<_> = changes.iter().map(|c| c.pair()).collect();
                let of_client = self.observations.iter().filter(|o| o.client == client);
                let lists: Vec<_> = of_client.map(|o| o.epoch_changes.clone()).collect();
                if self.dice.is_some() || lists.last() == Some(&wanted) {
                    return Ok(None);
                }
                Ok(differs("epoch changes", &wanted, &lists.concat()))
            }
            Expected::PendingResolution { step_index, client, pending, resolution } => {
                let wanted = TraceResolution {
                    step_index: *step_index,
                    client: client.clone(),
                    pending: pending.clone(),
                    resolution: *resolution,
                };
                let found = self.resolutions.contains(&wanted);
                Ok((!found).then(|| format!("{wanted:?} is not among {:?}", self.resolutions)))
            }
            Expected::ExpectedError { step_index, client, operation, error } => {
                // What comes in is named after G1's mapping, or by the step in which it does.
                let step = self.scenario.steps.get(*step_index).map(super::kind_of);
                let found = self.refusals.iter().any(|r| {
                    r.step == *step_index
                        && r.client == *client
                        && (r.operation == *operation
                            || r.operation == "ingest" && step.as_ref() == Some(operation))
                        && r.names.contains(&error.as_str())
                });
                let at_step: Vec<_> =
                    self.refusals.iter().filter(|r| r.step == *step_index).collect();
                Ok((!found).then(|| format!("no {error} of {operation}; refused: {at_step:?}")))
            }
            Expected::ApplicationPayloadMultiset { client, payloads } => {
                let who = self.client(client)?;
                let seen = self.observations.iter().filter(|o| o.client == who);
                let lists: Vec<_> = seen.map(|o| sorted(&o.payloads)).collect();
                let (wanted, all) = (sorted(payloads), sorted(&lists.concat()));
                if lists.last() == Some(&wanted) {
                    return Ok(None);
                }
                Ok(differs(&format!("{client}: payloads"), &wanted, &all))
            }
            Expected::NoPendingWork { clients } => self.idle(clients, Kept::Work),
            Expected::NoPendingWorkExceptRetainedJoinCommit { clients } => {
                self.idle(clients, Kept::JoinCommits)
            }
        }
    }

    /// The last comparison that was observed of a client, or that nobody has observed.
    fn last_compared(&self, client: usize) -> Option<Compared> {
        let mut of_client = self.observations.iter().rev().filter(|o| o.client == client);
        of_client.find_map(|o| o.compared.clone()).or(self.clients[client].compared.clone())
    }

    fn idle(&mut self, clients: &[String], kept: Kept) -> Fault {
        for name in clients {
            let client = self.client(name)?;
            let work = self.pending_work(client, kept)?;
            if !work.is_empty() {
                return Ok(Some(format!("{name} has work: {}", work.join(", "))));
            }
        }
        Ok(None)
    }

    fn state_fault(&self, expected: &Expected) -> Fault {
        let Expected::ClientState {
            client,
            epoch,
            member_count,
            name,
            group_name,
            description,
            received_payloads,
            added_members,
            removed_members,
        } = expected
        else {
            unreachable!("the caller looked")
        };
        let seen = self.latest(client)?;
        let list = |what: &str, wanted: &Option<Vec<String>>, got: &[String]| {
            wanted.as_ref().and_then(|w| differs(what, &sorted(w), &sorted(got)))
        };
        let text = |what: &str, wanted: &Option<String>, got: &String| {
            wanted.as_ref().and_then(|w| differs(what, w, got))
        };
        let payloads = received_payloads.as_ref();
        Ok(epoch
            .and_then(|e| differs("epoch", &e, &seen.epoch))
            .or(member_count.and_then(|n| differs("members", &n, &seen.member_count)))
            .or(text("name", name, &seen.name))
            .or(text("name", group_name, &seen.name))
            .or(text("description", description, &seen.description))
            .or(payloads.and_then(|p| self.same_texts("payloads", p, &seen.payloads)))
            .or(list("added", added_members, &seen.added))
            .or(list("removed", removed_members, &seen.removed)))
    }

    fn exactly(&self, clients: &[String], same: bool) -> Fault {
        let mut states = Vec::new();
        for name in clients {
            let client = self.client(name)?;
            let seen = self.observations.iter().rev().filter(|o| o.client == client);
            let exact = seen.into_iter().find_map(|o| o.exact.clone());
            states.push(exact.ok_or_else(|| Failed::Runner(format!("{name}: no observe_exact")))?);
        }
        let equal = states.windows(2).all(|pair| pair[0] == pair[1]);
        Ok((equal != same).then(|| {
            let what = if equal { "are equivalent" } else { "are not equivalent" };
            format!("{clients:?} {what}")
        }))
    }

    fn follows(&self, wanted: &[TraceObservation], resolutions: &[TraceResolution]) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(differs("resolutions", &resolutions.to_vec(), &self.resolutions));
        faults.extend(differs("observations", &wanted.len(), &self.observations.len()));
        for (i, (want, seen)) in wanted.iter().zip(&self.observations).enumerate() {
            let name = &self.clients[seen.client].name;
            let mut fault = differs("client", &want.client, name)
                .or(differs("epoch", &want.epoch, &seen.epoch))
                .or(differs("members", &want.member_count, &seen.member_count));
            for (what, wanted, got) in [
                ("name", &want.group_name, &seen.name),
                ("description", &want.description, &seen.description),
            ] {
                fault = fault.or(wanted.as_ref().and_then(|w| differs(what, w, got)));
            }
            let payloads = want.received_payloads.as_ref();
            fault = fault.or(payloads.and_then(|p| self.same_texts("payloads", p, &seen.payloads)));
            for (what, wanted, got) in [
                ("added", &want.added_members, &seen.added),
                ("removed", &want.removed_members, &seen.removed),
            ] {
                fault = fault.or(wanted.as_ref().and_then(|w| differs(what, &sorted(w), got)));
            }
            for (what, count) in &want.event_counts {
                fault = fault.or(match seen.counts.get(what.as_str()) {
                    None => Some(format!("event count {what:?} is not known")),
                    Some(got) => differs(what, count, got),
                });
            }
            faults.extend(fault.map(|f| format!("observation {i}: {f}")));
        }
        faults
    }

    /// The first group requires and carries what the profile says.
    fn has_profile(&mut self, profile: &Profile) -> Option<String> {
        let number = |s: &String| {
            let digits = s.strip_prefix("0x").unwrap_or("no number");
            u16::from_str_radix(digits, 16).map_err(|_| format!("{s:?} is not a component id"))
        };
        let check = |world: &mut Self| -> Result<Option<String>, String> {
            if profile.name != "current" {
                return Err(format!("profile {:?} is not known", profile.name));
            }
            let group = world.first_group.clone().ok_or("no group")?;
            let state = world.clients.iter_mut().find_map(|c| {
                c.is_member(&group).then(|| c.call(|e| testing::state(e, &group)).ok()).flatten()
            });
            let state = state.ok_or("nobody is a member")?;
            let context =
                openmls::prelude::GroupContext::tls_deserialize_exact_bytes(&state.group_context)
                    .map_err(|e| e.to_string())?;
            let required =
                context.extensions().required_capabilities().ok_or("nothing is required")?;
            for id in &profile.required_group_context_extensions {
                let id = number(id)?;
                if !required.extension_types().iter().any(|t| u16::from(*t) == id) {
                    return Ok(Some(format!("extension {id:#06x} is not required")));
                }
            }
            for id in &profile.required_proposals {
                let id = number(id)?;
                if !required.proposal_types().iter().any(|t| u16::from(*t) == id) {
                    return Ok(Some(format!("proposal {id:#06x} is not required")));
                }
            }
            let list = state.components.get(&1).ok_or("no component list")?;
            let list =
                mdk_wire::v2::components::ComponentList::decode(list).map_err(|e| e.to_string())?;
            for id in &profile.required_app_components {
                let id = number(id)?;
                if !list.0.contains(&id) {
                    return Ok(Some(format!("component {id:#06x} is not required")));
                }
            }
            for id in &profile.required_group_context_state_components {
                let id = number(id)?;
                if !state.components.contains_key(&id) {
                    return Ok(Some(format!("component {id:#06x} has no state")));
                }
            }
            for id in &profile.leaf_only_app_components {
                let id = number(id)?;
                if state.components.contains_key(&id) {
                    return Ok(Some(format!("component {id:#06x} has state")));
                }
            }
            Ok(None)
        };
        match check(self) {
            Ok(fault) => fault.map(|f| format!("profile: {f}")),
            Err(problem) => Some(format!("profile: {problem}")),
        }
    }
}

fn decision_fault(expected: &Expected, got: &Compared) -> Option<String> {
    let Expected::ConvergenceDecision {
        selected_tip_epoch,
        decisive_rule,
        witness_quorum_met,
        min_app_witness_score,
        ..
    } = expected
    else {
        unreachable!("the caller looked")
    };
    let rule = decisive_rule.as_ref();
    let score = min_app_witness_score.is_some_and(|min| got.score.is_none_or(|s| s < min as u64));
    differs("tip", &Some(*selected_tip_epoch), &got.tip)
        .or(rule.and_then(|r| differs("rule", &r.as_str(), &rule_name(&got.rule))))
        .or(witness_quorum_met.and_then(|q| differs("quorum", &Some(q), &got.quorum)))
        .or(score.then(|| format!("score: wanted {min_app_witness_score:?}, got {:?}", got.score)))
}
