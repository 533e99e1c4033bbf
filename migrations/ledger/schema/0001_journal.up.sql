-- Every statement may be repeated: see up in ledger.go.
CREATE TABLE IF NOT EXISTS entry (
    seq        INTEGER PRIMARY KEY,
    at         TEXT NOT NULL,
    capability TEXT NOT NULL,
    kind       TEXT NOT NULL,
    actor      TEXT NOT NULL,
    text       TEXT NOT NULL,
    detail     TEXT NOT NULL,
    prev       TEXT NOT NULL,
    hash       TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS entry_capability ON entry (capability, kind, seq);

CREATE TABLE IF NOT EXISTS move (
    capability  TEXT PRIMARY KEY,
    state       TEXT NOT NULL,
    owner       TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    plan_digest TEXT NOT NULL,
    updated_at  TEXT NOT NULL,
    detail      TEXT NOT NULL
);
