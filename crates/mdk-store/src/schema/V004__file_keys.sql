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
