-- Committed intervals that Feast's registry does not list yet: an outbox.
-- Why: the ledger and the registry cannot change in one transaction. The row is written with the
-- commit and removed once the registry has the interval, so a crash in between loses nothing.
-- The window does not reference `windows`: pruning old runs must not lose an undelivered interval.

CREATE TABLE mirrors (
    window_id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    view_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    start_micros BIGINT NOT NULL,
    end_micros BIGINT NOT NULL,
    committed_at BIGINT NOT NULL
);

-- What is due for a project, in the order of commits.
CREATE INDEX mirrors_due ON mirrors (project, committed_at, window_id);
