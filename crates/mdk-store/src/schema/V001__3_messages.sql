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
-- Reactions, edits and deletions of a message.
CREATE INDEX messages_by_target ON messages (group_id, target) WHERE target IS NOT NULL;
-- Disappearing messages that still have content; an erased one (status 1) leaves the index.
CREATE INDEX messages_by_expiry ON messages (expires_at) WHERE expires_at IS NOT NULL AND status <> 1;

-- The durable log of what the application is told. `seq` is its cursor: a number must never come back, so the newest row
-- outlives its group, emptied. (AUTOINCREMENT would say the same, for one more page with every event.) stable_id makes telling a thing twice impossible; events of messages have none, since
-- a message is delivered once for ever anyway (seen).
CREATE TABLE events (
  seq       INTEGER PRIMARY KEY,
  stable_id BLOB,
  group_id  BLOB,
  kind      INTEGER NOT NULL,
  body      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_stable_id ON events (stable_id) WHERE stable_id IS NOT NULL;
