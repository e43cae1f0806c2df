"""What makes a ledger that an older harvester wrote one of today's (``schema.sql``)."""

#: What makes a ledger of version n one of version n + 1. Version 1 knew no parts: there every visited source is
#: one whole part, to be found out about when it is opened again. Version 2 lacked indexes: a row of outcomes is
#: two pages, so that whatever looks at all of a category, a run or a pass must find its columns in an index.
#: Version 3 knew no labels: there every part that has been open is what its source was listed as. Of version 4
#: nothing has left. Version 5 saw no storyboards. Of version 6 nothing was forgotten or too old. Version 7 told no
#: overlays, version 8 no scenes.
MIGRATIONS = {
    1: """
    ALTER TABLE visits ADD COLUMN first_k INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE parts (
        category_id TEXT NOT NULL, kind TEXT NOT NULL, source_id TEXT NOT NULL, first_k INTEGER NOT NULL,
        count INTEGER NOT NULL, from_s REAL NOT NULL, listed_s REAL NOT NULL,
        start_s REAL, end_s REAL, targets INTEGER, ended INTEGER, planned_at TEXT,
        PRIMARY KEY (category_id, kind, source_id, first_k)
    ) WITHOUT ROWID;
    INSERT INTO parts (category_id, kind, source_id, first_k, count, from_s, listed_s, planned_at)
        SELECT s.category_id, s.kind, s.id, 0, max(v.count), 0.0, json_extract(s.record, '$.duration_s'),
            max(p.opened_at)
        FROM sources s JOIN visits v ON v.category_id = s.category_id AND v.kind = s.kind AND v.source_id = s.id
        JOIN passes p ON p.id = v.pass_id
        GROUP BY s.category_id, s.kind, s.id
    """,
    2: """
    DROP INDEX visits_by_round;
    CREATE INDEX visits_in_order ON visits (
        pass_id, broadcaster_hash, source_hash, source_id, first_round, last_round
    );
    CREATE INDEX visits_retried ON visits (category_id, kind, source_id) WHERE retry IS NOT NULL;
    DROP INDEX outcomes_by_category;
    DROP INDEX outcomes_by_run;
    DROP INDEX outcomes_by_pass;
    CREATE INDEX outcomes_of_category ON outcomes (category_id, verdict, seq, phash, broadcaster_id, reason);
    CREATE INDEX outcomes_of_run ON outcomes (
        run_id, category_id, kind, source_id, k, seq DESC, verdict, reason, retry_at
    );
    CREATE INDEX outcomes_of_pass ON outcomes (
        pass_id, seq, round, broadcaster_hash, source_hash, place
    );
    CREATE INDEX outcomes_lost ON outcomes (pass_id, kind, source_id) WHERE k IS NULL AND verdict = 'failed'
    """,
    3: """
    ALTER TABLE parts ADD COLUMN labels TEXT;
    ALTER TABLE parts ADD COLUMN evidence TEXT;
    CREATE INDEX clips_of_vods ON sources (json_extract(record, '$.video_id')) WHERE kind = 'clip';
    CREATE TABLE held (
        category_id TEXT NOT NULL, source_id TEXT NOT NULL, listed TEXT NOT NULL,
        PRIMARY KEY (category_id, source_id, listed)
    ) WITHOUT ROWID;
    CREATE INDEX passes_of_category ON passes (category_id, scope)
    """,
    4: """
    CREATE TABLE barriers (
        number INTEGER PRIMARY KEY, run_id TEXT NOT NULL, through_seq INTEGER NOT NULL, decided_at TEXT NOT NULL);
    CREATE TABLE removals (
        seq INTEGER PRIMARY KEY, barrier INTEGER NOT NULL, category_id TEXT NOT NULL, reason TEXT NOT NULL,
        left_at TEXT
    );
    CREATE INDEX outcomes_of_broadcaster ON outcomes (broadcaster_id) WHERE phash IS NOT NULL
    """,
    5: "ALTER TABLE parts ADD COLUMN chosen TEXT",
    6: """
    ALTER TABLE barriers ADD COLUMN cause TEXT NOT NULL DEFAULT 'sightings';
    CREATE TABLE forgettings (
        stone TEXT PRIMARY KEY, through_seq INTEGER NOT NULL, done_at TEXT
    ) WITHOUT ROWID;
    CREATE TABLE absences (
        kind TEXT NOT NULL, source_id TEXT NOT NULL, first_at TEXT NOT NULL, last_at TEXT NOT NULL,
        PRIMARY KEY (kind, source_id)
    ) WITHOUT ROWID
    """,
    7: "CREATE TABLE overlays (broadcaster_id TEXT PRIMARY KEY, boxes TEXT) WITHOUT ROWID",
    8: "CREATE INDEX outcomes_repeated ON outcomes (near_key, broadcaster_id, reason) WHERE near_key IS NOT NULL",
}
