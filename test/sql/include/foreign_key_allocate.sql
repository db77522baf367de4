-- Allocates under a new model version twice: where what the INSERT writes elsewhere has no parent, then where it
-- has one. An orphan must be refused, and every row elsewhere must have left its trail.
\set ECHO none
SET client_min_messages = error;
SELECT 'v' || nextval('public.regress_versions') AS version \gset
TRUNCATE public.regress_audit, public.regress_trail;
SET regress.parent = 2;
CALL attribution.allocate_events(:t, :'version') \gset
SELECT 'no parent' AS elsewhere, :events_allocated AS allocated, :events_failed AS failed, o.* FROM public.regress_elsewhere() AS o;
SET regress.parent = 1;
CALL attribution.allocate_events(:t, :'version') \gset
SELECT 'a parent' AS elsewhere, :events_allocated AS allocated, :events_failed AS failed, o.* FROM public.regress_elsewhere() AS o;
RESET client_min_messages;
\set ECHO all
