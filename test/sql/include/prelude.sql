-- What every test starts with; a test includes it by
--
--   \set ECHO none
--   \getenv inputdir PG_ABS_SRCDIR
--   \set prelude :inputdir '/sql/include/prelude.sql'
--   \i :prelude
\encoding UTF8
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS attribution;
RESET client_min_messages;

-- Runs statements as a transaction of their own would, the checks of COMMIT included, and says how
-- that ended: `ok`, or SQLSTATE, constraint, message, detail and hint. What they did stays when it
-- is ok. `Failing row contains` is left out, since it shows clocks and drawn ids.
CREATE PROCEDURE pg_temp.attempt(statements text) LANGUAGE plpgsql AS $attempt$
DECLARE
    state text;
    constraint_name text;
    message text;
    detail text;
    hint text;
BEGIN
    BEGIN
        EXECUTE statements;
        SET CONSTRAINTS ALL IMMEDIATE;
        SET CONSTRAINTS ALL DEFERRED;
        RAISE INFO 'ok';
        RETURN;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, constraint_name = CONSTRAINT_NAME,
            message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    END;
    message := concat_ws(' ', state, nullif(constraint_name, '')) || ': ' || message;
    IF detail LIKE 'Failing row contains%' THEN
        detail := '';
    END IF;
    IF detail <> '' AND hint <> '' THEN
        RAISE INFO '%', message USING DETAIL = detail, HINT = hint;
    ELSIF detail <> '' THEN
        RAISE INFO '%', message USING DETAIL = detail;
    ELSIF hint <> '' THEN
        RAISE INFO '%', message USING HINT = hint;
    ELSE
        RAISE INFO '%', message;
    END IF;
END
$attempt$;
\set ECHO all
