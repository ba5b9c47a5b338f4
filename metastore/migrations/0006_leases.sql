-- Leases: who may write a view, and until when by the database's clock.
-- Why: two processes that do the same work only waste it, but one that was stopped and comes back
-- must not commit what another has taken over: its token is no longer the view's.

CREATE TABLE leases (
    project TEXT NOT NULL,
    storage_name TEXT NOT NULL,
    token BIGINT NOT NULL,
    job_id TEXT,
    holder TEXT,
    host TEXT,
    pid BIGINT,
    lease_until BIGINT NOT NULL,
    PRIMARY KEY (project, storage_name)
);

-- Who holds what: few of many, since a lease that was given back names no job.
CREATE INDEX leases_of_job ON leases (job_id) WHERE job_id IS NOT NULL;
