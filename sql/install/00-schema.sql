-- complain if the script is sourced in psql rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION attribution" to load this file. \quit

-- Everything lives in a schema that this script creates, so that a schema of that name prepared by
-- somebody else makes the installation fail instead of being adopted. The script runs with
-- search_path = pg_catalog, pg_temp (schema = pg_catalog in the control file).
CREATE SCHEMA attribution;
COMMENT ON SCHEMA attribution IS
'Revenue attribution to the exact cent: events, allocations that sum to their revenue at every COMMIT, ledger, reconciliation and refreshed views. All tables belong to a tenant.';
