-- What has landed of each feature view: merged intervals and the watermark.
-- Why: an incremental run starts here. Intervals are kept merged, so that the table grows with the
-- number of gaps and not with the number of runs; half-open, unlike Feast's.

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
