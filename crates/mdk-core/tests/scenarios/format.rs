//! The file format of scenarios. What is not known here is refused, never passed over.
// Some members are notes of the recording: they are read so that unknown ones are refused.
#![allow(dead_code)]

use serde::Deserialize;
use serde_json::Value;

use super::expected::{Assertion, Expected, Trace};

/// One file.
pub struct File {
    pub name: String,
    pub profile: Option<Profile>,
    pub scenario: Scenario,
    pub outcomes: Vec<Expected>,
    pub trace: Option<Trace>,
}

/// What the founded groups must require.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub name: String,
    #[serde(default)]
    pub required_group_context_extensions: Vec<String>,
    #[serde(default)]
    pub required_proposals: Vec<String>,
    #[serde(default)]
    pub required_app_components: Vec<String>,
    #[serde(default)]
    pub required_group_context_state_components: Vec<String>,
    #[serde(default)]
    pub leaf_only_app_components: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    pub spec_version: String,
    pub clients: Vec<String>,
    #[serde(default)]
    pub topology: Option<Topology>,
    pub steps: Vec<Step>,
}

/// Who runs where. Versions and policies of processes and relays are notes of the recording.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    #[serde(default)]
    pub accounts: Vec<Value>,
    #[serde(default)]
    pub devices: Vec<Device>,
    #[serde(default)]
    pub processes: Vec<Value>,
    #[serde(default)]
    pub groups: Vec<Value>,
    #[serde(default)]
    pub relays: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    pub id: String,
    pub account: String,
    pub process: String,
    pub client: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Commit,
    Proposal,
    Application,
    Welcome,
    GroupMessage,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    pub action_id: Option<String>,
    pub publication: Option<String>,
    pub sender: Option<String>,
    pub class: Option<Class>,
    pub occurrence: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    #[default]
    All,
    StateConfirmation,
    Welcome,
    GroupMessage,
    RegeneratedQueuedIntent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    Accepted,
    ReachedNoEndpoint,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Sync {
    Incremental,
    Since { timestamp: u64 },
    FullHistory,
    SetReconciliation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayOrder {
    #[default]
    Natural,
    Reverse,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    InGroup {
        group: String,
        action: Box<Step>,
    },
    CreateGroup {
        creator: String,
        name: String,
        invitees: Vec<String>,
        #[serde(default)]
        required_features: Vec<String>,
        initial_admins: Option<Vec<String>>,
        pending: String,
    },
    InviteMembers {
        inviter: String,
        invitees: Vec<String>,
        pending: String,
    },
    RemoveMembers {
        remover: String,
        members: Vec<String>,
        pending: String,
    },
    SelfUpdate {
        client: String,
        pending: String,
    },
    UpdateGroupData {
        client: String,
        name: String,
        pending: String,
    },
    UpdateGroupProfile {
        client: String,
        name: Option<String>,
        description: Option<String>,
        pending: String,
    },
    UpdateAdminPolicy {
        client: String,
        admins: Vec<String>,
        pending: String,
    },
    ExpectUpdateAdminPolicyError {
        client: String,
        admins: Vec<String>,
        error: String,
    },
    AcknowledgeOutbound {
        client: String,
        publication: Option<String>,
        #[serde(default)]
        selection: Selection,
        outcome: Ack,
    },
    SendAppMessage {
        sender: String,
        payload: String,
    },
    Leave {
        client: String,
    },
    SetClientOffline {
        client: String,
    },
    ReconnectClient {
        client: String,
    },
    SyncRelayHistory {
        clients: Vec<String>,
        sync: Sync,
    },
    ConfigureRelay {
        relay: String,
        order: RelayOrder,
        duplicate_copies: usize,
    },
    SetRelayEventVisibility {
        relay: String,
        selector: Selector,
        clients: Vec<String>,
        visible: bool,
    },
    ReconcileRelayHistories {
        relays: Vec<String>,
    },
    CrashProcess {
        process: String,
    },
    RestartProcess {
        process: String,
    },
    InjectStorageFault {
        fault: Value,
    },
    ClearStorageFault {
        target: String,
    },
    // Braces make serde refuse unknown members of these too.
    DeliverAll {},
    Tick {
        clients: Vec<String>,
    },
    AdvanceTime {
        delta_ms: u64,
    },
    AwaitQuiescence {
        policy: Option<QuiescencePolicy>,
    },
    Observe {
        clients: Vec<String>,
    },
    ObserveExact {
        clients: Vec<String>,
    },
    ProbeBidirectionalDecryptability {
        clients: Vec<String>,
    },
    ObserveAdminPolicy {
        clients: Vec<String>,
    },
    ClearEvents {
        clients: Vec<String>,
    },
    OmitMessage {
        selector: Selector,
    },
    DuplicateMessage {
        selector: Selector,
    },
    WithholdMessage {
        selector: Selector,
        label: String,
    },
    ReleaseWithheld {
        label: String,
    },
    ReorderMessages {
        order: Vec<Selector>,
    },
    SetPartition {
        allow: Vec<String>,
    },
    ClearPartition {},
    RestartClient {
        client: String,
    },
    Barrier {
        name: String,
    },
    Assert {
        assertion: Assertion,
    },
}

/// Bounds of `await_quiescence`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuiescencePolicy {
    #[serde(default = "rounds", alias = "max_iterations")]
    pub max_rounds: u32,
    #[serde(default = "virtual_ms", alias = "max_elapsed_ms")]
    pub max_virtual_ms: u64,
}

impl Default for QuiescencePolicy {
    fn default() -> Self {
        Self { max_rounds: rounds(), max_virtual_ms: virtual_ms() }
    }
}

fn rounds() -> u32 {
    256
}

fn virtual_ms() -> u64 {
    60_000
}

/// Members of a file that say where it comes from.
const NOTES: [&str; 12] = [
    "$schema",
    "scenario_name",
    "vector_version",
    "conformance_version",
    "seed",
    "description",
    "title",
    "notes",
    "comment",
    "source",
    "provenance",
    "captured_at",
];
const MEANT: [&str; 4] = ["application_profile", "scenario", "expected_outcomes", "expected_trace"];

/// Reads a file.
///
/// # Errors
/// A sentence that names what is not understood.
pub fn parse(text: &str) -> Result<File, String> {
    let mut value: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
    let members = value.as_object_mut().ok_or("not a JSON object")?;
    for name in members.keys() {
        if !NOTES.contains(&name.as_str()) && !MEANT.contains(&name.as_str()) {
            return Err(format!("unknown member {name:?}"));
        }
    }
    let mut take = |name: &str| members.remove(name);
    let scenario = take("scenario").ok_or("no scenario")?;
    let mut steps = Vec::new();
    // Each step and outcome by itself, so that the error says which one.
    let mut shell = scenario;
    let raw = shell.get_mut("steps").map(Value::take).ok_or("no steps")?;
    for (i, step) in list(raw)?.into_iter().enumerate() {
        let kind = kind_of(&step);
        steps.push(serde_json::from_value(step).map_err(|e| format!("step {i} ({kind}): {e}"))?);
    }
    shell["steps"] = Value::Array(Vec::new());
    let mut scenario: Scenario =
        serde_json::from_value(shell).map_err(|e| format!("scenario: {e}"))?;
    scenario.steps = steps;
    if !matches!(scenario.spec_version.as_str(), "2" | "3") {
        return Err(format!("spec_version {:?} is not known", scenario.spec_version));
    }
    let mut outcomes = Vec::new();
    for (i, outcome) in list(take("expected_outcomes").unwrap_or_default())?.into_iter().enumerate()
    {
        let kind = kind_of(&outcome);
        outcomes.push(
            serde_json::from_value(outcome).map_err(|e| format!("outcome {i} ({kind}): {e}"))?,
        );
    }
    let trace = optional(take("expected_trace"), "expected_trace")?;
    let profile = optional(take("application_profile"), "application_profile")?;
    let judges = scenario.steps.iter().any(Step::judges) || profile.is_some();
    if outcomes.is_empty() && trace.is_none() && !judges {
        return Err("nothing is expected".into());
    }
    let name = take("scenario_name").and_then(|n| n.as_str().map(str::to_owned));
    Ok(File {
        name: name.unwrap_or_else(|| scenario.name.clone()),
        profile,
        scenario,
        outcomes,
        trace,
    })
}

fn optional<T: serde::de::DeserializeOwned>(
    value: Option<Value>,
    name: &str,
) -> Result<Option<T>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value).map(Some).map_err(|e| format!("{name}: {e}")),
    }
}

fn list(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Null => Ok(Vec::new()),
        _ => Err("a list is needed".into()),
    }
}

fn kind_of(value: &Value) -> String {
    value.get("type").and_then(Value::as_str).unwrap_or("without a type").to_owned()
}
