-- Conventions of all tables
--
-- * Unsigned 64-bit values stand in columns of type ANY: an INTEGER up to 2^63-1, above that a BLOB of 8 bytes, big
--   endian. SQLite sorts every INTEGER before every BLOB, so order and comparison hold over the whole range.
-- * Lists of keys are their 32-byte values in a row; other lists are in postcard encoding.
-- * A table that holds rows of one group names it `group_id` (`scope` in mls_rows): deleting a group relies on it.
-- * Every dirtied page costs a cipher and a MAC over 4 KiB, so each index says which query needs it.

-- Small settings and cursors of the account.
CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

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

-- Retained states: one row per epoch and branch. The large column stands last, so that a list without it does not
-- read its pages.
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
  event_key      BLOB NOT NULL,
  nostr_group_id BLOB NOT NULL,
  retention      ANY NOT NULL,
  relays         BLOB NOT NULL,
  state          BLOB NOT NULL,
  UNIQUE (group_id, authenticator)
) STRICT;
