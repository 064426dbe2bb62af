CREATE TABLE accounts (
    id            BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    name          TEXT NOT NULL UNIQUE,
    password_hash TEXT,
    created_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE meetings (
    id               BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    code             TEXT NOT NULL UNIQUE,
    title            TEXT NOT NULL,
    max_participants INTEGER NOT NULL,
    key_in_link      INTEGER NOT NULL,
    host_key_sha256  BLOB NOT NULL CHECK (length(host_key_sha256) = 32),
    created_ms       INTEGER NOT NULL,
    ended_ms         INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE participations (
    participant BLOB PRIMARY KEY NOT NULL CHECK (length(participant) = 16),
    meeting     BLOB NOT NULL REFERENCES meetings (id),
    role        TEXT NOT NULL CHECK (role IN ('guest', 'member', 'host')),
    account     BLOB REFERENCES accounts (id),
    admitted_ms INTEGER NOT NULL,
    left_ms     INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX participations_by_meeting ON participations (meeting, admitted_ms);

CREATE TABLE audit_log (
    id       INTEGER PRIMARY KEY,
    at_ms    INTEGER NOT NULL,
    action   TEXT NOT NULL,
    meeting  BLOB,
    actor    BLOB,
    trace_id TEXT NOT NULL
) STRICT;
CREATE INDEX audit_log_by_meeting ON audit_log (meeting, id);
