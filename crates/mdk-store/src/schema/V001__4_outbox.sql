-- Our own commits with their exact bytes. Ids are handed to the application, hence AUTOINCREMENT. Finished ones stay
-- until their epoch leaves the horizon: a commit that was given up may still come back from a relay.
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
-- The unfinished ones (status 0 and 1): normally none or one per group.
CREATE INDEX commits_open ON commits (group_id) WHERE status < 2;

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
