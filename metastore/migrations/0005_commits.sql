-- The last commit of each view, and whether the online store still has it.
-- Why: a marker in the online store names the same commit, so that a flush, a failover to a stale
-- replica or a restored ledger is noticed before a run calls itself incremental; once a view was
-- corrected, every write to it carries a fence.

ALTER TABLE views ADD COLUMN commit_sequence BIGINT NOT NULL DEFAULT 0;
ALTER TABLE views ADD COLUMN commit_attempt TEXT;
ALTER TABLE views ADD COLUMN fenced BIGINT NOT NULL DEFAULT 0;
ALTER TABLE views ADD COLUMN lost TEXT;
