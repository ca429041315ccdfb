-- The newest jobs are what a page shows first, and what is asked for most.
-- Not "jobs": that name is the queue engine's, in the same database.
CREATE TABLE train_jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job BLOB NOT NULL,                -- TrainJob
    state BLOB NOT NULL,              -- JobState
    is_over INTEGER NOT NULL,         -- whether the state is a last one
    seq INTEGER NOT NULL,             -- of the last event
    submitted_millis INTEGER NOT NULL,
    scores BLOB,                      -- Scores
    copier INTEGER,                   -- the cached copier that it builds upon, once it has begun
    deaths INTEGER NOT NULL DEFAULT 0 -- of the service under it, since its state was last saved
);

CREATE INDEX jobs_under_way ON train_jobs(is_over) WHERE is_over = 0;

-- `id` orders the events of all jobs, `seq` those of one.
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job INTEGER NOT NULL REFERENCES train_jobs(id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    at_millis INTEGER NOT NULL,
    kind BLOB NOT NULL,               -- JobEventKind
    UNIQUE (job, seq)
);

CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job INTEGER REFERENCES train_jobs(id) ON DELETE CASCADE,  -- none for cached copiers
    kind BLOB NOT NULL,               -- FileKind
    name TEXT NOT NULL,               -- for the user
    path TEXT NOT NULL UNIQUE,        -- below the data folder
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL
);

CREATE INDEX files_of_a_job ON files(job);

CREATE TABLE copiers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL UNIQUE, -- of base, picture and recipe
    name TEXT NOT NULL,
    original TEXT NOT NULL,
    base TEXT NOT NULL,
    fidelity REAL,
    steps INTEGER NOT NULL,
    file INTEGER NOT NULL REFERENCES files(id),
    finished_millis INTEGER NOT NULL
);

-- How long steps took: the newest measurement of each device, base, method and phase.
CREATE TABLE paces (
    device TEXT NOT NULL,
    part BLOB NOT NULL,               -- (BaseId, Method, Phase)
    pace BLOB NOT NULL,               -- Pace
    PRIMARY KEY (device, part)
);
