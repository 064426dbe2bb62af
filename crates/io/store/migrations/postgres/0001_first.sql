CREATE TABLE accounts (
    id            BYTEA PRIMARY KEY CHECK (length(id) = 16),
    name          TEXT NOT NULL UNIQUE,
    password_hash TEXT,
    created_ms    BIGINT NOT NULL
);

CREATE TABLE meetings (
    id               BYTEA PRIMARY KEY CHECK (length(id) = 16),
    code             TEXT NOT NULL UNIQUE,
    title            TEXT NOT NULL,
    max_participants BIGINT NOT NULL,
    key_in_link      BOOLEAN NOT NULL,
    host_key_sha256  BYTEA NOT NULL CHECK (length(host_key_sha256) = 32),
    created_ms       BIGINT NOT NULL,
    ended_ms         BIGINT
);

CREATE TABLE participations (
    participant BYTEA PRIMARY KEY CHECK (length(participant) = 16),
    meeting     BYTEA NOT NULL REFERENCES meetings (id),
    role        TEXT NOT NULL CHECK (role IN ('guest', 'member', 'host')),
    account     BYTEA REFERENCES accounts (id),
    admitted_ms BIGINT NOT NULL,
    left_ms     BIGINT
);
CREATE INDEX participations_by_meeting ON participations (meeting, admitted_ms);

-- One partition for each month (UTC), so that old ones can be dropped whole.
CREATE TABLE audit_log (
    id       BIGSERIAL NOT NULL,
    at_ms    BIGINT NOT NULL,
    action   TEXT NOT NULL,
    meeting  BYTEA,
    actor    BYTEA,
    trace_id TEXT NOT NULL,
    PRIMARY KEY (id, at_ms)
) PARTITION BY RANGE (at_ms);
CREATE INDEX audit_log_by_meeting ON audit_log (meeting, id);

-- Makes the partition for the month of `entry_ms`, where it is missing. Those who do so at once wait for one another
-- until their transactions end.
CREATE FUNCTION audit_partition(entry_ms BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    month TIMESTAMP := date_trunc('month', to_timestamp(entry_ms / 1000.0) AT TIME ZONE 'UTC');
    name TEXT := 'audit_log_' || to_char(month, 'YYYY_MM');
    first_ms BIGINT := extract(epoch FROM month) * 1000;
    after_ms BIGINT := extract(epoch FROM month + INTERVAL '1 month') * 1000;
BEGIN
    PERFORM pg_advisory_xact_lock(7223372120);
    IF to_regclass(name) IS NULL THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF audit_log FOR VALUES FROM (%s) TO (%s)',
                       name, first_ms, after_ms);
    END IF;
END
$$;
