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

-- A group has few commits: what is asked by their status is found among them.
DROP INDEX commits_open;
