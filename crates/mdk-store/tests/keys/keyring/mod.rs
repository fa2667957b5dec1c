//! Real keyrings, through the code path that everybody uses: GNOME Keyring on a D-Bus session of its own, and the
//! kernel's keyutils. With `MDK_REQUIRE_KEYRINGS=1` they must be there; without it their absence skips the test.

mod roles;

use std::{
    fs,
    process::{Command, Stdio},
};

use tempfile::TempDir;

const ROLE: &str = "MDK_STORE_KEYRING_ROLE";

fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    found.is_ok_and(|out| out.status.success())
}

/// Whether the test runs. Says why not, or fails where keyrings are required.
fn ready(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !has(program)).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(
        std::env::var_os("MDK_REQUIRE_KEYRINGS").is_none(),
        "required, but missing: {missing:?}"
    );
    eprintln!("skipped: {missing:?} not installed");
    false
}

/// A session with nothing of the user's in it.
fn session(home: &TempDir, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .env("LC_ALL", "C.UTF-8")
        .env("RUST_BACKTRACE", "1");
    command
}

fn child(command: &mut Command, role: &str) {
    let out = command
        .env(ROLE, role)
        .env("TEST_BINARY", std::env::current_exe().unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("child done"), "{role}: {text}");
    // Neither a key nor an error of a store is printed by anything.
    assert!(!text.contains("mdk-key-1:"), "{text}");
}

/// A daemon comes back before it has its name on the bus, and who asks by then has the bus start another one.
const WAIT: &str = "n=600; until dbus-send --session --print-reply=literal --dest=org.freedesktop.DBus / \
    org.freedesktop.DBus.NameHasOwner string:org.freedesktop.secrets | grep -q true; \
    do n=$((n - 1)); test $n -gt 0 || exit 1; sleep 0.1; done";

const GNOME_KEYRING: [&str; 4] =
    ["dbus-run-session", "dbus-send", "gnome-keyring-daemon", "secret-tool"];

const RUN: &str =
    r#"exec "$TEST_BINARY" --exact keys::keyring::the_child --nocapture --test-threads=1"#;

/// Runs a role with an unlocked GNOME Keyring whose password is `words`.
fn with_gnome_keyring(role: &str) {
    if !ready(&GNOME_KEYRING) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let unlock = "printf words | gnome-keyring-daemon --unlock --components=secrets >/dev/null";
    // As at a login: the first one makes the collection, and it is there when the tests run.
    let script = format!("{unlock} && {WAIT} && {RUN}");
    child(&mut session(&home, "dbus-run-session", &["--", "sh", "-c", &script]), role);
}

#[test]
fn the_secret_service_keeps_the_key() {
    with_gnome_keyring("round trip");
}

#[test]
fn explicit_ids_are_found_and_never_overwritten() {
    with_gnome_keyring("explicit ids");
}

#[test]
fn a_first_open_that_was_stopped_uses_its_key_in_the_keyring() {
    with_gnome_keyring("stopped first open");
}

#[test]
fn rekeying_replaces_the_key_in_the_keyring() {
    with_gnome_keyring("rekey");
}

#[test]
fn a_rekey_to_another_service_moves_the_key() {
    with_gnome_keyring("another service");
}

#[test]
fn a_first_open_that_is_continued_with_another_key_leaves_none_in_the_keyring() {
    with_gnome_keyring("continued first open");
}

#[test]
fn a_rekey_looks_once_more_that_its_key_is_still_its_own() {
    with_gnome_keyring("overtaken rekey");
}

#[test]
fn a_key_is_found_by_its_id_when_the_record_is_lost() {
    with_gnome_keyring("lost record");
}

#[test]
fn a_copy_leaves_the_key_of_the_original_in_the_keyring() {
    with_gnome_keyring("copies");
}

#[test]
fn a_rekey_that_was_stopped_is_finished_or_undone_with_the_keyring() {
    with_gnome_keyring("stopped rekey");
}

#[test]
fn two_databases_that_take_one_id_at_once_end_with_one_owner() {
    with_gnome_keyring("race");
}

#[test]
fn a_slow_keyring_is_a_timeout_and_leaves_nothing() {
    with_gnome_keyring("slow");
}

#[test]
fn a_locked_keyring_is_named_and_leaves_nothing() {
    if !ready(&GNOME_KEYRING) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    // A first session makes the collection. In the second nobody unlocks it, and nobody can be asked.
    let unlock = "printf words | gnome-keyring-daemon --unlock --components=secrets >/dev/null";
    let make = format!("{unlock} && {WAIT} && printf x | secret-tool store --label=x a b");
    let made = session(&home, "dbus-run-session", &["--", "sh", "-c", &make]).status().unwrap();
    assert!(made.success());
    let start = "gnome-keyring-daemon --start --components=secrets >/dev/null";
    let script = format!("{start} && {WAIT} && {RUN}");
    child(&mut session(&home, "dbus-run-session", &["--", "sh", "-c", &script]), "locked");
}

#[test]
fn without_a_keyring_it_is_named_and_a_file_still_serves() {
    let home = tempfile::tempdir().unwrap();
    child(&mut session(&home, "sh", &["-c", RUN]), "absent");
    if ready(&["dbus-run-session"]) {
        // A session without any service behind it.
        let empty = "export XDG_DATA_DIRS=/nonexistent; ";
        let script = format!("{empty}{RUN}");
        let config = home.path().join("bus.conf");
        fs::write(&config, BUS).unwrap();
        let config = format!("--config-file={}", config.display());
        child(
            &mut session(&home, "dbus-run-session", &[&config, "--", "sh", "-c", &script]),
            "absent",
        );
    }
}

const BUS: &str = r#"<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>"#;

#[test]
fn the_kernel_keeps_the_key_when_asked_to() {
    if !ready(&["keyctl"]) {
        return;
    }
    // A container may forbid the calls.
    let works = Command::new("keyctl").args(["show", "@s"]).stdout(Stdio::null()).status();
    if !works.unwrap().success() {
        assert!(std::env::var_os("MDK_REQUIRE_KEYRINGS").is_none(), "required, but keyctl fails");
        eprintln!("skipped: the kernel's keyrings cannot be used here");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    child(&mut session(&home, "keyctl", &["session", "-", "sh", "-c", RUN]), "keyutils");
}

/// Not a test of its own: what runs inside such a session.
#[test]
fn the_child() {
    let Some(role) = std::env::var_os(ROLE) else { return };
    match role.to_str().unwrap() {
        "round trip" => roles::round_trip(),
        "explicit ids" => roles::explicit_ids(),
        "stopped first open" => roles::stopped_first_open(),
        "rekey" => roles::rekey(),
        "another service" => roles::another_service(),
        "continued first open" => roles::continued_first_open(),
        "overtaken rekey" => roles::overtaken_rekey(),
        "lost record" => roles::lost_record(),
        "copies" => roles::copies(),
        "stopped rekey" => roles::stopped_rekey(),
        "race" => roles::race(),
        "open one" => roles::open_one(),
        "slow" => roles::slow(),
        "locked" => roles::locked(),
        "absent" => roles::absent(),
        "keyutils" => roles::keyutils(),
        other => panic!("unknown role {other}"),
    }
    println!("child done");
}
