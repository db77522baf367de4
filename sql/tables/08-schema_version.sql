-- schema_version: which version of the extension the tables below were made or upgraded by.

CREATE TABLE attribution.schema_version (
    is_only    boolean     NOT NULL DEFAULT true,
    version    text        NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schema_version_pkey PRIMARY KEY (is_only),
    CONSTRAINT schema_version_one_row CHECK (is_only)
);
COMMENT ON TABLE attribution.schema_version IS 'One row: the version of the tables. It travels with them in a dump, so that upgrade_tables() knows where to begin.';
COMMENT ON COLUMN attribution.schema_version.is_only IS 'True: there is one row.';
COMMENT ON COLUMN attribution.schema_version.version IS 'The version of the extension that last changed the tables.';
COMMENT ON COLUMN attribution.schema_version.changed_at IS 'When it did.';
INSERT INTO attribution.schema_version (version) VALUES (attribution_internal.table_version()) ON CONFLICT (is_only) DO NOTHING;
CREATE TRIGGER forget_cached_rows AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON attribution.schema_version
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.forget_cached_rows();
ALTER TABLE attribution.schema_version ENABLE ALWAYS TRIGGER forget_cached_rows;
