-- What the migrations produce, by table. Generated; see the test that compares it.

CREATE TABLE client_state (
  key   TEXT NOT NULL PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE commits (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  group_id     BLOB NOT NULL,
  digest       BLOB NOT NULL,
  status       INTEGER NOT NULL,
  source_epoch ANY NOT NULL,
  source_auth  BLOB NOT NULL,
  next_auth    BLOB NOT NULL,
  purpose      INTEGER NOT NULL,
  automatic    INTEGER NOT NULL,
  event_id     BLOB,
  created_at   ANY NOT NULL,
  relays       BLOB NOT NULL,
  welcome      BLOB NOT NULL,
  event_json   TEXT,
  group_state  BLOB NOT NULL,
  UNIQUE (group_id, digest)
) STRICT;

CREATE TABLE events (
  seq       INTEGER PRIMARY KEY,
  stable_id BLOB,
  group_id  BLOB,
  kind      INTEGER NOT NULL,
  body      BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_by_stable_id ON events (stable_id) WHERE stable_id IS NOT NULL;

CREATE TABLE file_keys (
  id       INTEGER PRIMARY KEY,
  group_id BLOB NOT NULL,
  message  INTEGER NOT NULL,
  file     BLOB NOT NULL,
  key      BLOB NOT NULL
) STRICT;

CREATE INDEX file_keys_by_file ON file_keys (group_id, file);

CREATE INDEX file_keys_by_message ON file_keys (message);

CREATE TABLE groups (
  group_id        BLOB NOT NULL PRIMARY KEY,
  profile         INTEGER NOT NULL,
  status          INTEGER NOT NULL,
  epoch           ANY NOT NULL,
  join_epoch      ANY NOT NULL,
  authenticator   BLOB NOT NULL,
  event_key       BLOB NOT NULL,
  nostr_group_id  BLOB NOT NULL,
  name            TEXT NOT NULL,
  description     TEXT NOT NULL,
  relays          BLOB NOT NULL,
  admins          BLOB NOT NULL,
  members         BLOB NOT NULL,
  retention       ANY NOT NULL,
  has_image       INTEGER NOT NULL,
  welcomer        BLOB,
  created_at      ANY NOT NULL,
  self_updated_at ANY NOT NULL,
  last_read       INTEGER NOT NULL,
  welcome         BLOB
, pass_opened ANY NOT NULL DEFAULT 0, pass_relevant ANY NOT NULL DEFAULT 0, pass_base ANY NOT NULL DEFAULT 0, floor ANY NOT NULL DEFAULT 0, contested ANY NOT NULL DEFAULT 0, switches ANY NOT NULL DEFAULT 0, joined_at ANY NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;

CREATE INDEX groups_by_welcome ON groups (welcome) WHERE welcome IS NOT NULL;

CREATE TABLE held (
  seq         INTEGER PRIMARY KEY,
  event_id    BLOB NOT NULL UNIQUE,
  group_id    BLOB NOT NULL,
  received_at ANY NOT NULL,
  event_json  TEXT NOT NULL
, reported INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE INDEX held_by_group ON held (group_id);

CREATE TABLE inputs (
  seq         INTEGER PRIMARY KEY,
  group_id    BLOB NOT NULL,
  content_id  BLOB NOT NULL,
  class       INTEGER NOT NULL,
  epoch       ANY NOT NULL,
  state       INTEGER NOT NULL,
  sender      BLOB,
  parent_auth BLOB,
  event_id    BLOB NOT NULL,
  received_at ANY NOT NULL,
  due_at      ANY,
  bytes       BLOB NOT NULL,
  UNIQUE (group_id, content_id)
) STRICT;

CREATE INDEX inputs_by_due ON inputs (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE key_packages (
  reference   BLOB NOT NULL PRIMARY KEY,
  slot        TEXT NOT NULL,
  event_id    BLOB NOT NULL,
  created_at  ANY NOT NULL,
  not_after   ANY NOT NULL,
  last_resort INTEGER NOT NULL,
  used        INTEGER NOT NULL,
  replaced_at ANY,
  relays      BLOB NOT NULL,
  event_json  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE leave_requests (
  group_id       BLOB NOT NULL PRIMARY KEY,
  requested_at   ANY NOT NULL,
  proposed_epoch ANY NOT NULL,
  event_json     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
  seq           INTEGER PRIMARY KEY,
  group_id      BLOB NOT NULL,
  id            BLOB NOT NULL,
  kind          INTEGER NOT NULL,
  mine          INTEGER NOT NULL,
  delivery      INTEGER NOT NULL,
  status        INTEGER NOT NULL,
  target        BLOB,
  expires_at    ANY,
  content_id    BLOB NOT NULL,
  outer_id      BLOB NOT NULL,
  sender        BLOB NOT NULL,
  created_at    ANY NOT NULL,
  received_at   ANY NOT NULL,
  epoch         ANY NOT NULL,
  authenticator BLOB NOT NULL,
  tags          BLOB NOT NULL,
  content       TEXT NOT NULL
) STRICT;

CREATE INDEX messages_by_expiry ON messages (expires_at) WHERE expires_at IS NOT NULL AND status <> 1;

CREATE INDEX messages_by_id ON messages (group_id, id);

CREATE INDEX messages_by_target ON messages (group_id, target) WHERE target IS NOT NULL;

CREATE INDEX messages_edits ON messages (group_id, target, created_at) WHERE kind = 1009;

CREATE INDEX messages_hidden ON messages (group_id, status) WHERE status >= 3;

CREATE INDEX messages_shown ON messages (group_id, seq, kind, mine, status) WHERE kind <> 5 AND kind <> 7 AND kind <> 1009;

CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE mls_rows (
  id    INTEGER PRIMARY KEY,
  scope BLOB NOT NULL,
  label INTEGER NOT NULL,
  key   BLOB NOT NULL,
  value BLOB NOT NULL,
  UNIQUE (scope, label, key)
) STRICT;

CREATE TABLE "nodes" (
  seq            INTEGER PRIMARY KEY,
  group_id       BLOB NOT NULL,
  authenticator  BLOB NOT NULL,
  epoch          ANY NOT NULL,
  parent         BLOB,
  commit_id      BLOB,
  committer      BLOB,
  privileged     INTEGER NOT NULL,
  canonical      INTEGER NOT NULL,
  removed        INTEGER NOT NULL,
  history        INTEGER NOT NULL,
  made_at        ANY NOT NULL,
  sent_at        ANY NOT NULL,
  event_key      BLOB NOT NULL,
  nostr_group_id BLOB NOT NULL,
  retention      ANY NOT NULL,
  relays         BLOB NOT NULL,
  state          BLOB NOT NULL,
  UNIQUE (group_id, authenticator)
) STRICT;

CREATE TABLE outbox (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id    BLOB NOT NULL UNIQUE,
  purpose     INTEGER NOT NULL,
  group_id    BLOB,
  message_id  BLOB,
  recipient   BLOB,
  pending     INTEGER,
  created_at  ANY NOT NULL,
  attempts    INTEGER NOT NULL,
  result      INTEGER,
  finished_at ANY,
  targets     BLOB NOT NULL,
  event_json  TEXT
) STRICT;

CREATE INDEX outbox_by_commit ON outbox (pending) WHERE pending IS NOT NULL;

CREATE INDEX outbox_by_message ON outbox (message_id) WHERE message_id IS NOT NULL;

CREATE INDEX outbox_finished ON outbox (finished_at) WHERE finished_at IS NOT NULL;

CREATE INDEX outbox_open ON outbox (seq) WHERE finished_at IS NULL;

CREATE TABLE routes (
  seq            INTEGER PRIMARY KEY,
  nostr_group_id BLOB NOT NULL,
  group_id       BLOB NOT NULL,
  last_epoch     ANY NOT NULL,
  UNIQUE (nostr_group_id, group_id)
) STRICT;

CREATE INDEX routes_by_group ON routes (group_id);

CREATE TABLE seen (
  id   BLOB NOT NULL PRIMARY KEY,
  what INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE welcomes (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  pending    INTEGER NOT NULL,
  group_id   BLOB NOT NULL,
  recipient  BLOB NOT NULL,
  event_id   BLOB NOT NULL,
  sendable   INTEGER NOT NULL,
  recipe     BLOB NOT NULL
) STRICT;

CREATE INDEX welcomes_by_commit ON welcomes (pending);
