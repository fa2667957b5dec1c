-- Rows of OpenMLS. `scope` is the group id, or empty for what belongs to the account (signature keys, KeyPackages).
CREATE TABLE mls_rows (
  scope BLOB NOT NULL,
  label INTEGER NOT NULL,
  key   BLOB NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (scope, label, key)
) STRICT, WITHOUT ROWID;
