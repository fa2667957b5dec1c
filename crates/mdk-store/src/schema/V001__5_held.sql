-- Events that no known key opens yet. `seq` is the order of arrival.
CREATE TABLE held (
  seq         INTEGER PRIMARY KEY,
  event_id    BLOB NOT NULL UNIQUE,
  group_id    BLOB NOT NULL,
  received_at ANY NOT NULL,
  event_json  TEXT NOT NULL
) STRICT;
CREATE INDEX held_by_group ON held (group_id);

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
