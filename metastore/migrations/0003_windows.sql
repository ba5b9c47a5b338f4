-- Windows: the unit of commit, with the source files they were pinned to and their receipts.
-- Why: a window is durable before its first row is written, so that whatever a dead process left in
-- the online store can be traced to the files it read; only an open window can be committed.

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
