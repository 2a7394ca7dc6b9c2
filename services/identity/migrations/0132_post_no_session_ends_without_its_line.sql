-- Asked by the version before alone.
DROP FUNCTION end_sessions_everywhere(uuid, uuid, timestamptz);
