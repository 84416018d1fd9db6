-- +goose Up

-- Every sealed record. Nothing secret is readable here: public is authenticated,
-- sealed is encrypted.
CREATE TABLE holdfast_record (
    kind          smallint    NOT NULL,
    id            text        COLLATE "C" NOT NULL,
    version       bigint      NOT NULL,
    public        bytea       NOT NULL,
    sealed        bytea       NOT NULL,
    -- due in microseconds, and the nanoseconds below them.
    due           timestamptz,
    due_nanos     smallint    NOT NULL DEFAULT 0,
    -- Until then a replica is at work on it; any change ends that.
    claimed_until timestamptz,
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX holdfast_record_due ON holdfast_record (due, due_nanos, id) WHERE kind = 1 AND due IS NOT NULL;

-- The newest 64 journal entries of each grant.
CREATE TABLE holdfast_journal (
    grant_id text   COLLATE "C" NOT NULL,
    seq      bigint NOT NULL,
    sealed   bytea  NOT NULL,
    PRIMARY KEY (grant_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- What the store is: its header, and a number that is written to prove that
-- the database can be written. One row.
CREATE TABLE holdfast_store (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    header bytea,
    pulse  bigint  NOT NULL DEFAULT 0
);
INSERT INTO holdfast_store (one) VALUES (true);

-- Numbers the commits.
CREATE SEQUENCE holdfast_commit AS bigint;

-- The oldest schema that a program may know and still use this one. One row.
CREATE TABLE holdfast_schema (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    min_reader bigint  NOT NULL
);
INSERT INTO holdfast_schema (min_reader) VALUES (1);

-- +goose Down
DROP TABLE holdfast_schema;
DROP SEQUENCE holdfast_commit;
DROP TABLE holdfast_store;
DROP TABLE holdfast_journal;
DROP TABLE holdfast_record;
