-- Schema 8 of the ledger (store/ledger.py).
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, started_at TEXT NOT NULL, ended_at TEXT,
    rules TEXT NOT NULL, report TEXT
);
CREATE TABLE categories (id TEXT PRIMARY KEY, name TEXT NOT NULL, seen_at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sources (
    category_id TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, broadcaster_id TEXT NOT NULL,
    record TEXT NOT NULL, PRIMARY KEY (category_id, kind, id)
) WITHOUT ROWID;
CREATE INDEX clips_of_vods ON sources (json_extract(record, '$.video_id')) WHERE kind = 'clip';
CREATE TABLE held (
    category_id TEXT NOT NULL, source_id TEXT NOT NULL, listed TEXT NOT NULL,
    PRIMARY KEY (category_id, source_id, listed)
) WITHOUT ROWID;
CREATE TABLE parts (
    category_id TEXT NOT NULL, kind TEXT NOT NULL, source_id TEXT NOT NULL, first_k INTEGER NOT NULL,
    count INTEGER NOT NULL, from_s REAL NOT NULL, listed_s REAL NOT NULL,
    start_s REAL, end_s REAL, targets INTEGER, ended INTEGER, planned_at TEXT, labels TEXT, evidence TEXT,
    chosen TEXT,
    PRIMARY KEY (category_id, kind, source_id, first_k)
) WITHOUT ROWID;
CREATE TABLE passes (
    id INTEGER PRIMARY KEY, category_id TEXT NOT NULL, scope TEXT NOT NULL, opened_at TEXT NOT NULL,
    listing TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX passes_of_category ON passes (category_id, scope);
CREATE INDEX passes_open ON passes (category_id, scope) WHERE done = 0;
CREATE TABLE visits (
    pass_id INTEGER NOT NULL, broadcaster_hash INTEGER NOT NULL, source_hash INTEGER NOT NULL,
    category_id TEXT NOT NULL, kind TEXT NOT NULL, source_id TEXT NOT NULL,
    first_slot INTEGER NOT NULL, count INTEGER NOT NULL, round_size INTEGER NOT NULL,
    first_round INTEGER NOT NULL, last_round INTEGER NOT NULL, retry TEXT, first_k INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (pass_id, kind, source_id)
) WITHOUT ROWID;
CREATE INDEX visits_in_order ON visits (
    pass_id, broadcaster_hash, source_hash, source_id, first_round, last_round
);
CREATE INDEX visits_retried ON visits (category_id, kind, source_id) WHERE retry IS NOT NULL;
CREATE TABLE outcomes (
    seq INTEGER PRIMARY KEY, run_id TEXT NOT NULL, category_id TEXT NOT NULL,
    pass_id INTEGER NOT NULL, round INTEGER NOT NULL, broadcaster_hash INTEGER NOT NULL,
    source_hash INTEGER NOT NULL, place INTEGER NOT NULL,
    kind TEXT NOT NULL, source_id TEXT NOT NULL, broadcaster_id TEXT NOT NULL, k INTEGER,
    verdict TEXT NOT NULL CHECK (verdict IN ('kept', 'dropped', 'failed')), reason TEXT NOT NULL,
    offset_s REAL, phash INTEGER, measurement BLOB, near_key INTEGER, near_distance INTEGER,
    file_name TEXT, sha256 TEXT, detail TEXT, decided_at TEXT NOT NULL, retry_at TEXT
);
CREATE INDEX outcomes_of_category ON outcomes (category_id, verdict, seq, phash, broadcaster_id, reason);
CREATE INDEX outcomes_of_run ON outcomes (
    run_id, category_id, kind, source_id, k, seq DESC, verdict, reason, retry_at
);
CREATE INDEX outcomes_lost ON outcomes (pass_id, kind, source_id) WHERE k IS NULL AND verdict = 'failed';
CREATE INDEX outcomes_of_pass ON outcomes (
    pass_id, seq, round, broadcaster_hash, source_hash, place
);
CREATE INDEX outcomes_by_source ON outcomes (category_id, kind, source_id);
CREATE INDEX outcomes_due ON outcomes (category_id, retry_at) WHERE retry_at IS NOT NULL;
CREATE UNIQUE INDEX outcomes_by_file ON outcomes (file_name) WHERE file_name IS NOT NULL;
CREATE TABLE barriers (
    number INTEGER PRIMARY KEY, run_id TEXT NOT NULL, through_seq INTEGER NOT NULL, decided_at TEXT NOT NULL,
    cause TEXT NOT NULL DEFAULT 'sightings');
CREATE TABLE removals (
    seq INTEGER PRIMARY KEY, barrier INTEGER NOT NULL, category_id TEXT NOT NULL, reason TEXT NOT NULL,
    left_at TEXT
);
CREATE INDEX outcomes_of_broadcaster ON outcomes (broadcaster_id) WHERE phash IS NOT NULL;
CREATE TABLE forgettings (
    stone TEXT PRIMARY KEY, through_seq INTEGER NOT NULL, done_at TEXT
) WITHOUT ROWID;
CREATE TABLE absences (
    kind TEXT NOT NULL, source_id TEXT NOT NULL, first_at TEXT NOT NULL, last_at TEXT NOT NULL,
    PRIMARY KEY (kind, source_id)
) WITHOUT ROWID;
CREATE TABLE overlays (broadcaster_id TEXT PRIMARY KEY, boxes TEXT) WITHOUT ROWID;
