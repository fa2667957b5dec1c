-- Choosing between branches: the open pass of a group, when and by what each retained state came to be, messages that
-- are not shown, held events that were reported as lost.

-- The pass (all zero: none open). `floor` is the lowest epoch that is retained; `contested` the lowest one in which a
-- state of another branch is retained (0: none). `switches` counts changes of branch. `joined_at` sorts old traffic.
ALTER TABLE groups ADD COLUMN pass_opened ANY NOT NULL DEFAULT 0;
ALTER TABLE groups ADD COLUMN pass_relevant ANY NOT NULL DEFAULT 0;
ALTER TABLE groups ADD COLUMN pass_base ANY NOT NULL DEFAULT 0;
ALTER TABLE groups ADD COLUMN floor ANY NOT NULL DEFAULT 0;
ALTER TABLE groups ADD COLUMN contested ANY NOT NULL DEFAULT 0;
ALTER TABLE groups ADD COLUMN switches ANY NOT NULL DEFAULT 0;
ALTER TABLE groups ADD COLUMN joined_at ANY NOT NULL DEFAULT 0;
UPDATE groups SET floor = coalesce((SELECT min(epoch) FROM nodes WHERE nodes.group_id = groups.group_id), epoch);
UPDATE groups SET joined_at = created_at;

-- `history` is the newest message when the state came to be: what was said in it lies above. `removed`: this account
-- has no leaf there, so nothing but its place in the tree is known. Rebuilt, so that the large column stays the last.
CREATE TABLE nodes_2 (
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
INSERT INTO nodes_2 (seq, group_id, authenticator, epoch, parent, commit_id, committer, privileged, canonical, removed,
  history, made_at, sent_at, event_key, nostr_group_id, retention, relays, state)
SELECT seq, group_id, authenticator, epoch, parent, commit_id, committer, privileged, canonical, 0,
  0, 0, 0, event_key, nostr_group_id, retention, relays, state FROM nodes;
DROP TABLE nodes;
ALTER TABLE nodes_2 RENAME TO nodes;

-- Messages that are counted but not shown: expired ones (3), until their epoch is no longer retained, and those of a
-- branch that has not won (4). An insert of any other message does not touch it.
CREATE INDEX messages_hidden ON messages (group_id, status) WHERE status >= 3;

-- Whether the loss of a held event was reported.
ALTER TABLE held ADD COLUMN reported INTEGER NOT NULL DEFAULT 0;

-- A group has few commits: what is asked by their status is found among them.
DROP INDEX commits_open;
