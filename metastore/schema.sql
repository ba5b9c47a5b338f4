-- What the migrations add up to, for reading; the program applies `migrations/`. A test compares
-- the two. One text for PostgreSQL, where all of it lies in the schema `tidegate`, and SQLite,
-- which puts the name of a table in quotes once it was renamed.

-- Which migrations were applied.
CREATE TABLE migrations (
    version BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL
);

-- What was asked for, by whom, and what became of it. Times ending in `_at` are our clock, except
-- `heartbeat_at`, which is the database's; all others are event time. All are UTC nanoseconds.
CREATE TABLE "runs" (
    run_id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('incremental', 'interval', 'rerun')),
    state TEXT NOT NULL CHECK (state IN (
        'pending', 'running', 'succeeded', 'failed', 'cancelled', 'interrupted'
    )),
    request TEXT NOT NULL,
    idempotency_key TEXT,
    request_digest TEXT,
    is_served BIGINT NOT NULL,
    parallel BIGINT NOT NULL,
    requested_start BIGINT,
    requested_end BIGINT,
    views TEXT NOT NULL,
    warnings TEXT NOT NULL,
    refusal TEXT,
    cancel_requested BIGINT NOT NULL,
    events BIGINT NOT NULL,
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    program_version TEXT NOT NULL,
    admitted_at BIGINT NOT NULL,
    started_at BIGINT,
    heartbeat_at BIGINT NOT NULL,
    finished_at BIGINT
);

-- The newest runs of a project, for listing and for pruning.
CREATE INDEX runs_newest ON runs (project, admitted_at, run_id);

-- The newest runs of all projects.
CREATE INDEX runs_latest ON runs (admitted_at, run_id);

-- One run a key.
CREATE UNIQUE INDEX runs_by_key ON runs (project, idempotency_key);

-- What there is to do.
CREATE INDEX runs_at_work ON runs (project, state) WHERE state IN ('pending', 'running');

-- One view of one run.
CREATE TABLE "jobs" (
    job_id TEXT NOT NULL PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES "runs" (run_id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    project TEXT NOT NULL,
    storage_name TEXT NOT NULL,
    view_name TEXT NOT NULL,
    version BIGINT,
    interval_start BIGINT,
    interval_end BIGINT,
    state TEXT NOT NULL CHECK (state IN (
        'pending', 'running', 'succeeded', 'up_to_date', 'failed', 'refused', 'cancelled',
        'interrupted'
    )),
    reason TEXT,
    warnings TEXT NOT NULL,
    receipt TEXT,
    bad_rows TEXT NOT NULL,
    progress TEXT,
    admitted_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    CHECK ((interval_start IS NULL) = (interval_end IS NULL))
);

-- The jobs of a run, and the cascade of its deletion.
CREATE INDEX jobs_of_run ON jobs (run_id, position, job_id);

-- The last job of a view, for `tidegate status`.
CREATE INDEX jobs_newest ON jobs (project, storage_name, admitted_at, job_id);

-- The runs of a view.
CREATE INDEX jobs_of_view ON jobs (view_name, run_id);

-- The slices of a job's interval: what is committed at once.
CREATE TABLE "windows" (
    window_id TEXT NOT NULL PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES "jobs" (job_id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    project TEXT NOT NULL,
    storage_name TEXT NOT NULL,
    interval_start BIGINT NOT NULL,
    interval_end BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN (
        'pending', 'open', 'committed', 'failed', 'interrupted'
    )),
    partitions BIGINT NOT NULL,
    rows_max BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    receipt TEXT,
    watermark_before BIGINT,
    watermark_after BIGINT,
    error TEXT,
    planned_at BIGINT NOT NULL,
    opened_at BIGINT,
    closed_at BIGINT,
    CHECK ((state = 'committed') = (receipt IS NOT NULL)),
    CHECK ((state IN ('pending', 'open')) = (closed_at IS NULL))
);

-- The windows of a job, and the cascade of its deletion.
CREATE INDEX windows_of_job ON windows (job_id, position, window_id);

-- The windows of a view that did not land: what is to be run again, and what may be half written.
CREATE INDEX windows_left ON windows (project, storage_name, interval_start)
    WHERE state <> 'committed';

-- The windows of a view that landed, to see what later landed over one that did not.
CREATE INDEX windows_landed ON windows (project, storage_name, interval_end)
    WHERE state = 'committed';

-- The attempts at a window, each under the token of a lease and pinned to source files.
CREATE TABLE attempts (
    attempt_id TEXT NOT NULL PRIMARY KEY,
    window_id TEXT NOT NULL REFERENCES "windows" (window_id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    token BIGINT NOT NULL,
    correcting BIGINT NOT NULL,
    fenced BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'committed', 'failed', 'interrupted')),
    source TEXT NOT NULL,
    identity TEXT NOT NULL,
    basis TEXT NOT NULL,
    error TEXT,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    CHECK ((state = 'running') = (ended_at IS NULL))
);

-- The attempts at a window, and the cascade of its deletion.
CREATE INDEX attempts_of_window ON attempts (window_id, number);

-- The partitions of a window that are acknowledged and need not be written again.
CREATE TABLE checkpoints (
    window_id TEXT NOT NULL REFERENCES "windows" (window_id) ON DELETE CASCADE,
    partition BIGINT NOT NULL,
    attempt_id TEXT NOT NULL,
    basis TEXT NOT NULL,
    receipt TEXT NOT NULL,
    PRIMARY KEY (window_id, partition)
);

-- What happened to a run, numbered within it.
CREATE TABLE events (
    run_id TEXT NOT NULL REFERENCES "runs" (run_id) ON DELETE CASCADE,
    event_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    view_name TEXT,
    state TEXT,
    detail TEXT,
    happened_at BIGINT NOT NULL,
    PRIMARY KEY (run_id, event_id)
);

-- Who may write a view, and until when by the database's clock.
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

-- How far each view has got, its last commit, and whether the online store still has it.
CREATE TABLE views (
    project TEXT NOT NULL,
    storage_name TEXT NOT NULL,
    feast_created BIGINT,
    watermark BIGINT,
    features TEXT,
    updated_at BIGINT NOT NULL,
    commit_sequence BIGINT NOT NULL DEFAULT 0,
    commit_attempt TEXT,
    fenced BIGINT NOT NULL DEFAULT 0,
    lost TEXT,
    PRIMARY KEY (project, storage_name)
);

-- What has landed of each view: merged, half-open.
CREATE TABLE intervals (
    project TEXT NOT NULL,
    storage_name TEXT NOT NULL,
    interval_start BIGINT NOT NULL,
    interval_end BIGINT NOT NULL,
    PRIMARY KEY (project, storage_name, interval_start),
    FOREIGN KEY (project, storage_name) REFERENCES views (project, storage_name) ON DELETE CASCADE,
    CHECK (interval_start < interval_end)
);

-- Committed intervals that Feast's registry does not list yet.
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
