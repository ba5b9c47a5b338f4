-- Runs and their jobs: what was asked for, by whom, and what became of it.
-- Why: `tidegate runs` answers from here, and a run whose process died is found by its heartbeat.
-- Times ending in `_at` are our clock, all others event time; both are UTC nanoseconds, because
-- PostgreSQL's own timestamps stop at microseconds.

CREATE TABLE runs (
    run_id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('incremental', 'interval')),
    state TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'interrupted')),
    requested_start BIGINT,
    requested_end BIGINT NOT NULL,
    views TEXT NOT NULL,
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    program_version TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    heartbeat_at BIGINT NOT NULL,
    finished_at BIGINT
);

-- The newest runs of a project, for listing and for pruning.
CREATE INDEX runs_newest ON runs (project, started_at, run_id);

CREATE TABLE jobs (
    job_id TEXT NOT NULL PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    project TEXT NOT NULL,
    storage_name TEXT NOT NULL,
    view_name TEXT NOT NULL,
    version BIGINT,
    interval_start BIGINT,
    interval_end BIGINT,
    state TEXT NOT NULL CHECK (state IN (
        'pending', 'running', 'succeeded', 'up_to_date', 'failed', 'refused', 'interrupted'
    )),
    reason TEXT,
    receipt TEXT,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    CHECK ((interval_start IS NULL) = (interval_end IS NULL))
);

-- The jobs of a run, and the cascade of its deletion.
CREATE INDEX jobs_of_run ON jobs (run_id, started_at, job_id);

-- The last job of a view, for `tidegate status`.
CREATE INDEX jobs_newest ON jobs (project, storage_name, started_at, job_id);
