-- tables: the tables and views in schema attribution, which are no part of the extension. create_tables() makes what is
-- missing of them, upgrade_tables() leads those of an older version to this one.

CREATE FUNCTION attribution_internal.table_definitions() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $body$SELECT $definitions$
@sql/tables@
$definitions$::text$body$;
COMMENT ON FUNCTION attribution_internal.table_definitions() IS
'The statements that make the tables, views, triggers and policies in schema attribution, in their order: what create_tables() makes, and what a session expects to be there.';
REVOKE ALL ON FUNCTION attribution_internal.table_definitions() FROM PUBLIC;

CREATE FUNCTION attribution_internal.table_version() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    RETURN '@table_version@';
COMMENT ON FUNCTION attribution_internal.table_version() IS
'The version of the tables that this version of the extension works with: the last one that changed them.';
REVOKE ALL ON FUNCTION attribution_internal.table_version() FROM PUBLIC;

CREATE FUNCTION attribution_internal.table_upgrades() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $body$SELECT ARRAY[
@sql/tables/upgrade@
]$body$;
COMMENT ON FUNCTION attribution_internal.table_upgrades() IS
'Pairs of a version of the tables and the statements that make them of those of the version before it, the oldest first: what upgrade_tables() runs.';
REVOKE ALL ON FUNCTION attribution_internal.table_upgrades() FROM PUBLIC;

-- Parsing the definitions takes a session milliseconds; reading these rows takes next to nothing.
CREATE FUNCTION attribution_internal.parse_required_pieces(OUT kind text, OUT table_name name, OUT piece_name name)
    RETURNS SETOF record
    LANGUAGE c VOLATILE STRICT
    AS 'MODULE_PATHNAME', 'attribution_parse_required_pieces';
COMMENT ON FUNCTION attribution_internal.parse_required_pieces() IS
'The tables, keys and triggers of table_definitions(), and the version of the tables: the rows of required_pieces.';
REVOKE ALL ON FUNCTION attribution_internal.parse_required_pieces() FROM PUBLIC;
-- A materialized view and no table: a publication FOR ALL TABLES would send it to a server of another version.
CREATE MATERIALIZED VIEW attribution_internal.required_pieces AS
SELECT p.kind, p.table_name, p.piece_name FROM attribution_internal.parse_required_pieces() p;
COMMENT ON MATERIALIZED VIEW attribution_internal.required_pieces IS
'What a session must find before a function works: see parse_required_pieces(). Computed when the extension is created or updated. Not dumped.';
COMMENT ON COLUMN attribution_internal.required_pieces.kind IS 'version, table, constraint (but no CHECK) or trigger.';
COMMENT ON COLUMN attribution_internal.required_pieces.table_name IS 'The table in schema attribution.';
COMMENT ON COLUMN attribution_internal.required_pieces.piece_name IS 'The constraint or trigger; of a table its name again; of the version what it is.';

CREATE FUNCTION attribution.create_tables(dry_run boolean DEFAULT false, OUT object text, OUT problem text)
    RETURNS SETOF record
    LANGUAGE c VOLATILE CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
    AS 'MODULE_PATHNAME', 'attribution_create_tables';
COMMENT ON FUNCTION attribution.create_tables(boolean) IS
'Makes what is missing of the tables of the extension: tables, columns, constraints, defaults, indexes, triggers and when they fire, policies, views, comments, rows of currencies and index_plan. What is there is left as it is, and so is what others have added. Returns one row for each thing that was missing, in the order of making; with dry_run only says so. For the owner of the tables. 22004 NULL argument, 42501 for others, 55000 while tables of an older version are there.';
REVOKE ALL ON FUNCTION attribution.create_tables(boolean) FROM PUBLIC;

CREATE FUNCTION attribution.upgrade_tables(OUT object text, OUT problem text) RETURNS SETOF record
    LANGUAGE c VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
    AS 'MODULE_PATHNAME', 'attribution_upgrade_tables';
COMMENT ON FUNCTION attribution.upgrade_tables() IS
'Makes tables of this version of the extension of those of an older one, such as a dump of it brings; ALTER EXTENSION attribution UPDATE calls it. All in the transaction of the caller, and nothing where they are of this version. Rows stay, and so does what others have added. Returns one row for each version and for each thing that create_tables() then made. For the owner of the tables. 42501 for others, 55000 when the tables are newer, say no version or one that is not known, or when the library is older than the extension.';
REVOKE ALL ON FUNCTION attribution.upgrade_tables() FROM PUBLIC;
