-- Posts a new conversion twice: where what the INSERT writes elsewhere has no parent, then where it has one.
\set ECHO none
SELECT format('f02e1620-0000-4000-8000-000000000e%s', nextval('public.regress_events')) AS event \gset
TRUNCATE public.regress_audit, public.regress_trail;
SET regress.parent = 1;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES (:t, :'event', 'conversion', '2024-01-02Z', 100);
SELECT FROM attribution.allocate_event(:t, :'event', 'post') \g /dev/null
TRUNCATE public.regress_audit, public.regress_trail;
SET regress.parent = 2;
SELECT 'no parent' AS elsewhere, public.regress_post(:t) AS posted, o.* FROM public.regress_elsewhere() AS o;
SET regress.parent = 1;
SELECT 'a parent' AS elsewhere, public.regress_post(:t) AS posted \gset
SELECT :'elsewhere' AS elsewhere, :'posted' AS posted, o.* FROM public.regress_elsewhere() AS o;
\set ECHO all
