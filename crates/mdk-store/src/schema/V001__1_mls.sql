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
