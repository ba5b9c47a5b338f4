-- What the migrations add up to, for reading; the program applies `migrations/`. A test compares
-- the two. One text for PostgreSQL, where all of it lies in the schema `tidegate`, and SQLite.

CREATE TABLE migrations (
    version BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL
);

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

CREATE TABLE views (
    project TEXT NOT NULL,
    storage_name TEXT NOT NULL,
    feast_created BIGINT,
    watermark BIGINT,
    features TEXT,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (project, storage_name)
);

CREATE TABLE intervals (
    project TEXT NOT NULL,
    storage_name TEXT NOT NULL,
    interval_start BIGINT NOT NULL,
    interval_end BIGINT NOT NULL,
    PRIMARY KEY (project, storage_name, interval_start),
    FOREIGN KEY (project, storage_name) REFERENCES views (project, storage_name) ON DELETE CASCADE,
    CHECK (interval_start < interval_end)
);

CREATE TABLE windows (
    window_id TEXT NOT NULL PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    project TEXT NOT NULL,
    storage_name TEXT NOT NULL,
    interval_start BIGINT NOT NULL,
    interval_end BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'committed', 'failed', 'interrupted')),
    source TEXT NOT NULL,
    receipt TEXT,
    watermark_before BIGINT,
    watermark_after BIGINT,
    error TEXT,
    opened_at BIGINT NOT NULL,
    closed_at BIGINT,
    FOREIGN KEY (project, storage_name) REFERENCES views (project, storage_name) ON DELETE CASCADE,
    CHECK ((state = 'committed') = (receipt IS NOT NULL)),
    CHECK ((state = 'open') = (closed_at IS NULL))
);

-- The windows of a job, and the cascade of its deletion.
CREATE INDEX windows_of_job ON windows (job_id, opened_at, window_id);

-- The open windows of a view, which lose their claim when the view is created anew in Feast.
CREATE INDEX windows_open ON windows (project, storage_name) WHERE state = 'open';

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
