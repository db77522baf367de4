-- drop: what keeps a DROP from taking rows of tenants along, and how empty tables are dropped.

CREATE FUNCTION attribution.drop_tables() RETURNS void
    LANGUAGE c VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
    AS 'MODULE_PATHNAME', 'attribution_drop_tables';
COMMENT ON FUNCTION attribution.drop_tables() IS
'Drops the tables, views and materialized views of the extension, rows of currencies and index_plan included, while no tenant has a row: before a dump brings its own tables, or before DROP EXTENSION. For the owner of the tables. 42501 for others, 2BP01 while tables have rows or objects of users depend on them.';
REVOKE ALL ON FUNCTION attribution.drop_tables() FROM PUBLIC;

CREATE FUNCTION attribution_internal.guard_drop() RETURNS event_trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_guard_drop';
COMMENT ON FUNCTION attribution_internal.guard_drop() IS
'Event trigger: refuses (2BP01) a DROP by which rows of tenants, or what guards them, would go, unless attribution.allow_drop_with_rows is on.';
REVOKE ALL ON FUNCTION attribution_internal.guard_drop() FROM PUBLIC;
-- A type takes the tables along that are made of it, an access method those that use it, and a foreign table may have
-- heirs. All that else takes a table along is named before.
CREATE EVENT TRIGGER attribution_guards_drop ON ddl_command_start
    WHEN TAG IN ('DROP SCHEMA', 'DROP TABLE', 'DROP OWNED', 'DROP EXTENSION', 'DROP TYPE', 'DROP ACCESS METHOD', 'DROP FOREIGN TABLE')
    EXECUTE FUNCTION attribution_internal.guard_drop();
ALTER EVENT TRIGGER attribution_guards_drop ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER attribution_guards_drop IS 'Refuses a DROP by which rows of tenants, or what guards them, would go; looks at no other.';
