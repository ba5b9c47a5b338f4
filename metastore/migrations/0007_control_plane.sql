-- Runs that wait for a process, jobs that are known before they start, windows that are planned
-- before they are attempted; attempts, and the partitions that they have finished.
-- Why: a run is admitted by one process and may be worked on by another, which must find all that
-- the first one knew. The three tables are made anew because SQLite cannot change a condition.

CREATE TABLE runs_v7 (
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

CREATE TABLE jobs_v7 (
    job_id TEXT NOT NULL PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES runs_v7 (run_id) ON DELETE CASCADE,
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

CREATE TABLE windows_v7 (
    window_id TEXT NOT NULL PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs_v7 (job_id) ON DELETE CASCADE,
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

CREATE TABLE attempts (
    attempt_id TEXT NOT NULL PRIMARY KEY,
    window_id TEXT NOT NULL REFERENCES windows_v7 (window_id) ON DELETE CASCADE,
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

CREATE TABLE checkpoints (
    window_id TEXT NOT NULL REFERENCES windows_v7 (window_id) ON DELETE CASCADE,
    partition BIGINT NOT NULL,
    attempt_id TEXT NOT NULL,
    basis TEXT NOT NULL,
    receipt TEXT NOT NULL,
    PRIMARY KEY (window_id, partition)
);

CREATE TABLE events (
    run_id TEXT NOT NULL REFERENCES runs_v7 (run_id) ON DELETE CASCADE,
    event_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    view_name TEXT,
    state TEXT,
    detail TEXT,
    happened_at BIGINT NOT NULL,
    PRIMARY KEY (run_id, event_id)
);

INSERT INTO runs_v7 (
    run_id, project, kind, state, request, is_served, parallel, requested_start, requested_end,
    views, warnings, cancel_requested, events, host, pid, program_version, admitted_at, started_at,
    heartbeat_at, finished_at
)
SELECT run_id, project, kind, state, '{}', 0, 1, requested_start, requested_end,
    views, '[]', 0, 0, host, pid, program_version, started_at, started_at,
    heartbeat_at, finished_at
FROM runs;

INSERT INTO jobs_v7 (
    job_id, run_id, position, project, storage_name, view_name, version, interval_start,
    interval_end, state, reason, warnings, receipt, bad_rows, admitted_at, started_at, finished_at
)
SELECT job_id, run_id, 0, project, storage_name, view_name, version, interval_start,
    interval_end, state, reason, '[]', receipt, '[]', started_at, started_at, finished_at
FROM jobs;

INSERT INTO windows_v7 (
    window_id, job_id, position, project, storage_name, interval_start, interval_end, state,
    partitions, rows_max, bytes, receipt, watermark_before, watermark_after, error, planned_at,
    opened_at, closed_at
)
SELECT window_id, job_id, 0, project, storage_name, interval_start, interval_end, state,
    1, 0, 0, receipt, watermark_before, watermark_after, error, opened_at,
    opened_at, closed_at
FROM windows;

-- An attempt for each window: until now a window was attempted once.
INSERT INTO attempts (
    attempt_id, window_id, number, token, correcting, fenced, state, source, identity, basis, error,
    started_at, ended_at
)
SELECT window_id, window_id, 1, 0, 0, 0, CASE state WHEN 'open' THEN 'running' ELSE state END,
    source, '', '', error, opened_at, closed_at
FROM windows;

DROP TABLE windows;
DROP TABLE jobs;
DROP TABLE runs;

ALTER TABLE runs_v7 RENAME TO runs;
ALTER TABLE jobs_v7 RENAME TO jobs;
ALTER TABLE windows_v7 RENAME TO windows;

-- The newest runs of a project, for listing and for pruning.
CREATE INDEX runs_newest ON runs (project, admitted_at, run_id);

-- The newest runs of all projects.
CREATE INDEX runs_latest ON runs (admitted_at, run_id);

-- One run a key.
CREATE UNIQUE INDEX runs_by_key ON runs (project, idempotency_key);

-- What there is to do.
CREATE INDEX runs_at_work ON runs (project, state) WHERE state IN ('pending', 'running');

-- The jobs of a run, and the cascade of its deletion.
CREATE INDEX jobs_of_run ON jobs (run_id, position, job_id);

-- The last job of a view, for `tidegate status`.
CREATE INDEX jobs_newest ON jobs (project, storage_name, admitted_at, job_id);

-- The runs of a view.
CREATE INDEX jobs_of_view ON jobs (view_name, run_id);

-- The windows of a job, and the cascade of its deletion.
CREATE INDEX windows_of_job ON windows (job_id, position, window_id);

-- The windows of a view that did not land: what is to be run again, and what may be half written.
CREATE INDEX windows_left ON windows (project, storage_name, interval_start)
    WHERE state <> 'committed';

-- The windows of a view that landed, to see what later landed over one that did not.
CREATE INDEX windows_landed ON windows (project, storage_name, interval_end)
    WHERE state = 'committed';

-- The attempts at a window, and the cascade of its deletion.
CREATE INDEX attempts_of_window ON attempts (window_id, number);
