-- How much each group holds, for the life of a connection: whoever sees a routing id may send more, so its share has to
-- be known without reading it. In memory, in the transaction of what it counts; a group is counted when first asked for.
-- Welcomes, of kind 1059, have no part in the share. (A quotation mark inside a string is escaped, so only the event's
-- own kind reads like this.)
CREATE TEMP TABLE held_sums (
  group_id BLOB PRIMARY KEY,
  events   INTEGER NOT NULL,
  welcomes INTEGER NOT NULL,
  -- Of all that is no Welcome.
  bytes    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- The share of each relay in what no key has opened, of the groups that are in `held_sums`: bytes, and 2 KiB for each event.
CREATE TEMP TABLE held_noise (
  group_id BLOB NOT NULL,
  source   INTEGER NOT NULL,
  weight   INTEGER NOT NULL,
  PRIMARY KEY (group_id, source)
) STRICT, WITHOUT ROWID;
CREATE TEMP TRIGGER noise_comes AFTER INSERT ON main.held WHEN NEW.closed BEGIN
  INSERT INTO held_noise SELECT group_id, NEW.source, 2048 + octet_length(NEW.event_json)
    FROM held_sums WHERE group_id = NEW.group_id
    ON CONFLICT DO UPDATE SET weight = weight + excluded.weight;
END;
CREATE TEMP TRIGGER noise_goes AFTER DELETE ON main.held WHEN OLD.closed BEGIN
  UPDATE held_noise SET weight = weight - 2048 - octet_length(OLD.event_json)
    WHERE group_id = OLD.group_id AND source = OLD.source;
  DELETE FROM held_noise WHERE group_id = OLD.group_id AND source = OLD.source AND weight <= 0;
END;
CREATE TEMP TRIGGER noise_is_opened AFTER UPDATE OF closed, source ON main.held BEGIN
  UPDATE held_noise SET weight = weight - 2048 - octet_length(OLD.event_json)
    WHERE OLD.closed AND group_id = OLD.group_id AND source = OLD.source;
  DELETE FROM held_noise WHERE group_id = OLD.group_id AND source = OLD.source AND weight <= 0;
  INSERT INTO held_noise SELECT group_id, NEW.source, 2048 + octet_length(NEW.event_json)
    FROM held_sums WHERE group_id = NEW.group_id AND NEW.closed
    ON CONFLICT DO UPDATE SET weight = weight + excluded.weight;
END;
CREATE TEMP TRIGGER held_comes AFTER INSERT ON main.held BEGIN
  UPDATE held_sums SET events = events + 1, welcomes = welcomes + (instr(NEW.event_json, '"kind":1059,') > 0),
    bytes = bytes + iif(instr(NEW.event_json, '"kind":1059,') > 0, 0, octet_length(NEW.event_json))
  WHERE group_id = NEW.group_id;
END;
CREATE TEMP TRIGGER held_goes AFTER DELETE ON main.held BEGIN
  UPDATE held_sums SET events = events - 1, welcomes = welcomes - (instr(OLD.event_json, '"kind":1059,') > 0),
    bytes = bytes - iif(instr(OLD.event_json, '"kind":1059,') > 0, 0, octet_length(OLD.event_json))
  WHERE group_id = OLD.group_id;
  -- Nothing names a group that is gone.
  DELETE FROM held_sums WHERE group_id = OLD.group_id AND events <= 0;
END;
CREATE TEMP TRIGGER held_changes AFTER UPDATE OF group_id, event_json ON main.held BEGIN
  DELETE FROM held_sums WHERE group_id IN (OLD.group_id, NEW.group_id);
  DELETE FROM held_noise WHERE group_id IN (OLD.group_id, NEW.group_id);
END;
