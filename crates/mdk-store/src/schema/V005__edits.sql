-- What is said twice has one place in the history, and what was deleted leaves no edit behind.

-- The edits (kind 1009) of a message, the newest last: what is shown of it, without reading its reactions. An insert of
-- any other message does not touch it.
CREATE INDEX messages_edits ON messages (group_id, target, created_at) WHERE kind = 1009;

-- Messages that are shown more than once: what is deleted stays, else what is valid, else the oldest. The others keep
-- only what branches are compared by (as Tx::expire_message has it). x'00' is an empty list.
DELETE FROM file_keys WHERE message IN (SELECT seq FROM (
  SELECT seq, row_number() OVER (PARTITION BY group_id, id ORDER BY
    CASE status WHEN 1 THEN 0 WHEN 0 THEN 1 ELSE 2 END, seq) AS place FROM messages WHERE status < 3) WHERE place > 1);
UPDATE messages SET id = content_id, outer_id = content_id, content = '', tags = x'00', target = NULL,
  created_at = 0, received_at = 0, expires_at = NULL, status = 3 WHERE seq IN (SELECT seq FROM (
  SELECT seq, row_number() OVER (PARTITION BY group_id, id ORDER BY
    CASE status WHEN 1 THEN 0 WHEN 0 THEN 1 ELSE 2 END, seq) AS place FROM messages WHERE status < 3) WHERE place > 1);

-- Edits of what is deleted.
UPDATE messages SET content = '', tags = x'00', status = 1 WHERE kind = 1009 AND status <> 1 AND EXISTS (
  SELECT 1 FROM messages AS edited WHERE edited.group_id = messages.group_id AND edited.id = messages.target
  AND edited.status = 1);
