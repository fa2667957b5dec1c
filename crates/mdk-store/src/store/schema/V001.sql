-- The schema.
--
-- * Unsigned 64-bit values stand in columns of type ANY: an INTEGER up to 2^63-1, above that a BLOB of 8 bytes, big
--   endian. SQLite sorts every INTEGER before every BLOB, so order and comparison hold over the whole range.
-- * Lists of keys are their 32-byte values in a row; other lists are in postcard encoding.
-- * A table that holds rows of one group names it `group_id` (`scope` in mls_rows): deleting a group relies on it.
-- * Every dirtied page costs a cipher and a MAC over 4 KiB, so each index says which query needs it.

-- Rows of OpenMLS. `scope` is the group id, or empty for what belongs to the account (signature keys, KeyPackages).
--
-- Not WITHOUT ROWID: values have kilobytes, and a search in such a table reads and copies whole rows on its way. Here
-- it reads the index, and a value of unchanged length is overwritten in place.
CREATE TABLE mls_rows (
  id    INTEGER PRIMARY KEY,
  scope BLOB NOT NULL,
  label INTEGER NOT NULL,
  key   BLOB NOT NULL,
  value BLOB NOT NULL,
  UNIQUE (scope, label, key)
) STRICT;

-- Small settings and cursors of the account.
CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- A copy of what the MLS state of a group says, and what only this account knows. The columns from `pass_opened` on are
-- about choosing between branches: the open pass (all zero: none), then `floor`, the lowest epoch that is retained, and
-- `contested`, the lowest one in which a state of another branch is retained (0: none). `switches` counts changes of branch.
-- `joined_at` sorts old traffic.
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
  welcome         BLOB,
  pass_opened     ANY NOT NULL,
  pass_relevant   ANY NOT NULL,
  pass_base       ANY NOT NULL,
  floor           ANY NOT NULL,
  contested       ANY NOT NULL,
  switches        ANY NOT NULL,
  joined_at       ANY NOT NULL
) STRICT, WITHOUT ROWID;
-- An invite by the id of its gift wrap. Written once per join.
CREATE INDEX groups_by_welcome ON groups (welcome) WHERE welcome IS NOT NULL;

-- Which group a routing id belongs to; old ids stay while their epochs are retained. A routing id is public, so two
-- groups may claim one: both claims are kept, and the older one (lower seq) answers first.
CREATE TABLE routes (
  seq            INTEGER PRIMARY KEY,
  nostr_group_id BLOB NOT NULL,
  group_id       BLOB NOT NULL,
  last_epoch     ANY NOT NULL,
  UNIQUE (nostr_group_id, group_id)
) STRICT;
-- The ids of one group, read with every commit; written only when a group gets a new id.
CREATE INDEX routes_by_group ON routes (group_id);

-- Dedup: ids of outer events and of MLS messages that have a final result. Outlives its group on purpose.
CREATE TABLE seen (
  id   BLOB NOT NULL PRIMARY KEY,
  what INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Retained states: one row per epoch and branch. `history` is the newest message when the state came to be: what was said
-- in it lies above. `removed`: this account has no leaf there, so nothing but its place in the tree is known. The large
-- column stands last, so that a list without it does not read its pages.
CREATE TABLE nodes (
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

-- History. `seq` is the order of arrival and the cursor of paging and of reading, within a group.
--
-- An insert dirties the table's last page, one page of messages_by_id, and the group's last page of messages_shown (or,
-- for a reaction, edit or deletion, one page of messages_by_target).
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
-- A message by its id. Not unique: two equal messages have one id and stay two messages. It cannot serve paging,
-- because within a group it is sorted by a hash.
CREATE INDEX messages_by_id ON messages (group_id, id);
-- What a reader pages through: without kinds 5 (delete), 7 (reaction) and 1009 (edit), which belong to their target. A
-- page, the newest message and the count of unread ones each read a run of neighbouring entries, however many messages
-- other groups have; the columns after seq let the count do without the table. The queries name this index (INDEXED
-- BY), since a walk along seq through all groups would otherwise be an option for the planner. Spelled without IN: a
-- list would cost every insert a temporary table.
CREATE INDEX messages_shown ON messages (group_id, seq, kind, mine, status) WHERE kind <> 5 AND kind <> 7 AND kind <> 1009;
-- Reactions, edits and deletions of a message, of each kind by sender and time: what one member says about a message is
-- bounded, and is counted here without reading what others say.
CREATE INDEX messages_by_target ON messages (group_id, target, kind, sender, created_at) WHERE target IS NOT NULL;
-- Disappearing messages that still have content; an erased one (status 1) leaves the index.
CREATE INDEX messages_by_expiry ON messages (expires_at) WHERE expires_at IS NOT NULL AND status <> 1;
-- The edits (kind 1009) of a group: what a search looks at. An insert of any other message does not touch it.
CREATE INDEX messages_edits ON messages (group_id, target) WHERE kind = 1009;
-- Messages that are counted but not shown: expired ones (3), until their epoch is no longer retained, and those of a
-- branch that has not won (4). An insert of any other message does not touch it.
CREATE INDEX messages_hidden ON messages (group_id, status) WHERE status >= 3;
-- Of what a member said in a state and is gone one row is enough to say that it spoke there.
CREATE INDEX messages_spent ON messages (group_id, authenticator, sender) WHERE status = 3;

-- What the history keeps of each member of a group that is not this account, and, where `sender` is empty, of the whole
-- group: messages, and bytes of their texts and tags with a fixed sum for each row. Nothing is kept in it of messages that
-- have gone. `cut`: up to this place of the history the oldest messages of the member went, because there were too many.
CREATE TABLE shares (
  group_id BLOB NOT NULL,
  sender   BLOB NOT NULL,
  messages INTEGER NOT NULL,
  bytes    INTEGER NOT NULL,
  cut      INTEGER NOT NULL,
  PRIMARY KEY (group_id, sender)
) STRICT, WITHOUT ROWID;

-- Keys of the files that messages carry. A file's key comes from a secret of its message's epoch, and those are kept for
-- five epochs, while history is longer: so the key is kept beside the message, for as long as the message has content.
--
-- `message` is the seq of the message, `file` names the file as it was encrypted (hash, nonce, type and name). One file may
-- stand in several messages, of several epochs, with one key each. Messages without files have no row here, and nothing
-- here is looked at for them.
CREATE TABLE file_keys (
  id       INTEGER PRIMARY KEY,
  group_id BLOB NOT NULL,
  message  INTEGER NOT NULL,
  file     BLOB NOT NULL,
  key      BLOB NOT NULL
) STRICT;
-- What opens a file.
CREATE INDEX file_keys_by_file ON file_keys (group_id, file);
-- What goes with a message.
CREATE INDEX file_keys_by_message ON file_keys (message);

-- The durable log of what the application is told. `seq` is its cursor: a number must never come back, so the newest row
-- outlives its group, emptied. (AUTOINCREMENT would say the same, for one more page with every event.) stable_id makes
-- telling a thing twice impossible; events of messages have none, since a message is delivered once for ever anyway (seen).
CREATE TABLE events (
  seq       INTEGER PRIMARY KEY,
  stable_id BLOB,
  group_id  BLOB,
  kind      INTEGER NOT NULL,
  body      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_stable_id ON events (stable_id) WHERE stable_id IS NOT NULL;
-- Changes of epochs, of which a group keeps the newest only.
CREATE INDEX events_of_epochs ON events (group_id) WHERE kind = 10;

-- Our own commits with their exact bytes. Ids are handed to the application, hence AUTOINCREMENT. Finished ones stay
-- until their epoch leaves the horizon: a commit that was given up may still come back from a relay. A group has few: what
-- is asked by their status is found among them.
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

-- Gift wraps that wait for their commit, or to be sent. A wrap repeats most of the commit's Welcome, twice encrypted, so
-- what is kept is the recipe that gives the same bytes again; the commit's row stays as long as it is needed for that.
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

-- Our request to leave a group, until the group has committed it.
CREATE TABLE leave_requests (
  group_id       BLOB NOT NULL PRIMARY KEY,
  requested_at   ANY NOT NULL,
  proposed_epoch ANY NOT NULL,
  event_json     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Who was removed, or is an admin no more, by a commit that another branch can still undo: until that is out of reach. `made_at`
-- is when the commit came (milliseconds). `own`: by us, so it is made again when it is undone, tried `attempts` times, next at
-- `next_at`. `seal`: commits follow until it is out of reach. `undone_at` is 0 while it holds.
CREATE TABLE removals (
  group_id  BLOB NOT NULL,
  account   BLOB NOT NULL,
  demoted   INTEGER NOT NULL,
  commit_id BLOB NOT NULL,
  epoch     ANY NOT NULL,
  made_at   ANY NOT NULL,
  own       INTEGER NOT NULL,
  seal      INTEGER NOT NULL,
  undone_at ANY NOT NULL,
  next_at   ANY NOT NULL,
  attempts  INTEGER NOT NULL,
  PRIMARY KEY (group_id, account, demoted)
) STRICT, WITHOUT ROWID;

-- The tokens that wake members' phones: the last word of each device, of which the greater (owner_ts, digest) counts. `told_at`
-- is when a member last told it (milliseconds). The last four columns are NULL once the owner has removed the token.
CREATE TABLE push_tokens (
  group_id    BLOB NOT NULL,
  member      BLOB NOT NULL,
  leaf        INTEGER NOT NULL,
  platform    INTEGER NOT NULL,
  server      BLOB NOT NULL,
  owner_ts    ANY NOT NULL,
  digest      BLOB NOT NULL,
  told_at     ANY NOT NULL,
  fingerprint BLOB,
  signature   BLOB,
  relay_hint  TEXT,
  token       BLOB,
  PRIMARY KEY (group_id, member, leaf, platform, server)
) STRICT, WITHOUT ROWID;

-- Who asked for the tokens of a group (milliseconds). `due_at` is NULL once the answer was given. The row of our own account is
-- the request that we have to send.
CREATE TABLE push_requests (
  group_id  BLOB NOT NULL,
  requester BLOB NOT NULL,
  asked_at  ANY NOT NULL,
  due_at    ANY,
  PRIMARY KEY (group_id, requester)
) STRICT, WITHOUT ROWID;

-- Published KeyPackages. Their private parts are rows of OpenMLS.
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

-- What is to be published, from the transaction that makes it until every relay that it is for has answered.
--
-- A row holds the signed event as it goes out and nothing that is not in it: a message is encrypted there. `seq` is the
-- order of publishing and is handed out, hence AUTOINCREMENT. `targets` are the relays, what each said and when it is
-- asked again. A finished row (`finished_at`) stays for a while where somebody may ask for it, or the event would be put
-- in again; its event is then gone (NULL), except a message's that can be sent again. The large column stands last.
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
-- What is to be done, in order.
CREATE INDEX outbox_open ON outbox (seq) WHERE finished_at IS NULL;
-- What can be forgotten.
CREATE INDEX outbox_finished ON outbox (finished_at) WHERE finished_at IS NOT NULL;
-- How far a message is.
CREATE INDEX outbox_by_message ON outbox (message_id) WHERE message_id IS NOT NULL;
-- A commit of ours and its Welcomes.
CREATE INDEX outbox_by_commit ON outbox (pending) WHERE pending IS NOT NULL;

-- Small durable values of whoever moves the events: cursors, relay lists, what a bot has handled.
CREATE TABLE client_state (
  key   TEXT NOT NULL PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Events that cannot be read yet. `seq` is the order of arrival, `reported` whether it is lost, `closed` whether no key has
-- opened it: anybody may make any number of those. `source` is a number for the relay that gave it, 0 if none is known.
CREATE TABLE held (
  seq         INTEGER PRIMARY KEY,
  event_id    BLOB NOT NULL UNIQUE,
  group_id    BLOB NOT NULL,
  received_at ANY NOT NULL,
  reported    INTEGER NOT NULL,
  closed      INTEGER NOT NULL,
  source      INTEGER NOT NULL,
  event_json  TEXT NOT NULL
) STRICT;
CREATE INDEX held_by_group ON held (group_id);
-- What waits for something else than a key, without the noise that may be around it.
CREATE INDEX held_opened ON held (group_id) WHERE closed = 0;
-- The noise of each relay.
CREATE INDEX held_closed ON held (group_id, source) WHERE closed = 1;

-- Opened commits and proposals that wait for a parent, a rival or a decision. `seq` is the order of arrival.
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
-- What a timer is to look at.
CREATE INDEX inputs_by_due ON inputs (due_at) WHERE due_at IS NOT NULL;
