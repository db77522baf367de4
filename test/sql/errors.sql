-- errors: the SQLSTATE and the constraint of every bad input, one row each: the table of the README.
-- The other tests show the whole messages.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';

-- What the calls below meet: conversion e1 with allocations, posted under 1; e2 not allocated; touch e0; refund e3.
\set t '''e4404500-0000-4000-8000-00000000000a'''
INSERT INTO attribution.tenants (id, name) VALUES (:t, 'errors'), ('e4404500-0000-4000-8000-00000000000b', 'errors, bound');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, channel, refund_of, revenue_cents, external_event_id) VALUES
    (:t, 'e4404500-0000-4000-8000-0000000000e0', 'touch',      '2024-03-01 11:00Z', 'email', NULL, 0, NULL),
    (:t, 'e4404500-0000-4000-8000-0000000000e1', 'conversion', '2024-03-01 12:00Z', NULL, NULL, 100, 'test:order:1'),
    (:t, 'e4404500-0000-4000-8000-0000000000e2', 'conversion', '2024-03-02 12:00Z', NULL, NULL, 100, 'test:order:2'),
    (:t, 'e4404500-0000-4000-8000-0000000000e3', 'refund',     '2024-03-03 12:00Z', NULL, 'e4404500-0000-4000-8000-0000000000e1', -10, 'test:refund:1');
SELECT count(*) AS allocated FROM attribution.allocate_event(:t, 'e4404500-0000-4000-8000-0000000000e1', '1', '{email, tv}', '{1, 1}');
SELECT count(*) AS allocated FROM attribution.allocate_event(:t, 'e4404500-0000-4000-8000-0000000000e1', '2', '{email, tv}', '{1, 3}');
SELECT attribution.post_allocations(:t, '1');
CALL attribution.refresh_all();
INSERT INTO attribution.attribution_models (tenant_id, model_version, method) VALUES (:t, 'linear', 'linear');
INSERT INTO attribution.reconciliation_runs (tenant_id, id, state) VALUES
    (:t, 'e4404500-0000-4000-8000-0000000000c1', 'running'), (:t, 'e4404500-0000-4000-8000-0000000000c2', 'completed');
SELECT state FROM attribution.start_reconciliation('e4404500-0000-4000-8000-00000000000b');
CREATE ROLE regress_attribution_stranger LOGIN;
SELECT attribution.grant_access('regress_attribution_stranger', 'operator');
CREATE ROLE regress_attribution_bound LOGIN;
SELECT attribution.grant_access('regress_attribution_bound', 'writer');
SELECT attribution.bind_tenant('regress_attribution_bound', 'e4404500-0000-4000-8000-00000000000b');

CREATE TEMP TABLE promised (
    nr integer GENERATED ALWAYS AS IDENTITY,
    what text, state text, constraint_name text DEFAULT '', call text);
-- $t, $e0, $c1 ... stand for the ids.
INSERT INTO promised (what, state, call) VALUES
    ('no weights',                        '22023', $$SELECT attribution.allocate_cents(100, '{}'::numeric[])$$),
    ('weights all zero',                  '22023', $$SELECT attribution.allocate_cents(100, '{0, 0}'::numeric[])$$),
    ('negative weight',                   '22023', $$SELECT attribution.allocate_cents(100, '{1, -1}'::numeric[])$$),
    ('weight NaN',                        '22023', $$SELECT attribution.allocate_cents(100, '{1, NaN}'::numeric[])$$),
    ('weight Infinity',                   '22023', $$SELECT attribution.allocate_cents(100, '{1, Infinity}'::numeric[])$$),
    ('weight null',                       '22004', $$SELECT attribution.allocate_cents(100, '{1, NULL}'::numeric[])$$),
    ('weights in two dimensions',         '22023', $$SELECT attribution.allocate_cents(100, '{{1}, {1}}'::numeric[])$$),
    ('more than 1000000 weights',         '54000', $$SELECT attribution.allocate_cents(100, array_fill(1::numeric, '{1000001}'))$$),
    ('weights too far apart',             '54000', $$SELECT attribution.allocate_cents(100, array_fill(1e-16383, '{1000}') || 1e131071)$$),
    ('no parts',                          '22023', $$SELECT attribution.allocate_cents(100, 0)$$),
    ('more than 1000000 parts',           '54000', $$SELECT attribution.allocate_cents(100, 1000001)$$),
    ('total beyond bigint',               '22003', $$SELECT attribution.allocate_cents(9223372036854775808::bigint, 2)$$);
INSERT INTO promised (what, state, call) VALUES
    ('shares of different totals',        '22023', $$SELECT attribution.allocate_share(k, 1) OVER () FROM generate_series(1, 2) AS k$$),
    ('shares of a total null in a row',   '22004', $$SELECT attribution.allocate_share(nullif(k, 2), 1) OVER () FROM generate_series(1, 2) AS k$$),
    ('share of a weight null',            '22004', $$SELECT attribution.allocate_share(1, NULL) OVER ()$$),
    ('shares by weights all zero',        '22023', $$SELECT attribution.allocate_share(1, 0) OVER ()$$),
    ('more than 1000000 rows to share',   '54000', $$SELECT attribution.allocate_share(1, 1) OVER () FROM generate_series(1, 1000001)$$),
    ('share without OVER',                '42809', $$SELECT attribution.allocate_share(1, 1)$$),
    ('explaining with an argument null',  '22004', $$SELECT attribution.explain_allocation('$t', '$e1', NULL)$$),
    ('explaining for an unknown tenant',  '22023', $$SELECT attribution.explain_allocation('$e1', '$e1', '1')$$),
    ('explaining an unknown event',       '22023', $$SELECT attribution.explain_allocation('$t', '$t', '1')$$),
    ('explaining what is not allocated',  '22023', $$SELECT attribution.explain_allocation('$t', '$e1', '9')$$),
    ('explaining rows without weights',   '22023', $$INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
        VALUES ('$t', '$e2', 'imported', 'a', 100); SELECT attribution.explain_allocation('$t', '$e2', 'imported')$$);
INSERT INTO promised (what, state, call) VALUES
    ('argument null',                     '22004', $$SELECT attribution.allocate_event('$t', '$e2', NULL, '{a}', '{1}')$$),
    ('unknown tenant',                    '22023', $$SELECT attribution.allocate_event('$e2', '$e2', '1', '{a}', '{1}')$$),
    ('unknown event',                     '22023', $$SELECT attribution.allocate_event('$t', '$t', '1', '{a}', '{1}')$$),
    ('allocating a touch',                '22023', $$SELECT attribution.allocate_event('$t', '$e0', '1', '{a}', '{1}')$$),
    ('allocating a refund by weights',    '22023', $$SELECT attribution.allocate_event('$t', '$e3', '1', '{a}', '{1}')$$),
    ('more channels than weights',        '22023', $$SELECT attribution.allocate_event('$t', '$e2', '1', '{a, b}', '{1}')$$),
    ('channel twice',                     '22023', $$SELECT attribution.allocate_event('$t', '$e2', '1', '{a, a}', '{1, 1}')$$),
    ('channel null',                      '22004', $$SELECT attribution.allocate_event('$t', '$e2', '1', '{a, NULL}', '{1, 1}')$$),
    ('channel empty',                     '22023', $$SELECT attribution.allocate_event('$t', '$e2', '1', '{""}', '{1}')$$),
    ('channel over 255 bytes',            '54000', $$SELECT attribution.allocate_event('$t', '$e2', '1', ARRAY[repeat('x', 256)], '{1}')$$),
    ('model version empty',               '22023', $$SELECT attribution.allocate_event('$t', '$e2', '', '{a}', '{1}')$$),
    ('model version over 255 bytes',      '54000', $$SELECT attribution.allocate_event('$t', '$e2', repeat('x', 256), '{a}', '{1}')$$),
    ('more than 10000 channels',          '54000', $$SELECT attribution.allocate_event('$t', '$e2', '1', (SELECT array_agg(i::text) FROM generate_series(1, 10001) AS i), array_fill(1::numeric, '{10001}'))$$),
    ('model with weights of its own',     '22023', $$SELECT attribution.allocate_event('$t', '$e2', 'linear', '{a}', '{1}')$$);
INSERT INTO promised (what, state, constraint_name, call) VALUES
    ('model: argument null',              '22004', '', $$SELECT attribution.define_model('$t', 'm', NULL)$$),
    ('model: version empty',              '22023', '', $$SELECT attribution.define_model('$t', '', 'linear')$$),
    ('model: version over 255 bytes',     '54000', '', $$SELECT attribution.define_model('$t', repeat('x', 256), 'linear')$$),
    ('model: unknown tenant',             '22023', '', $$SELECT attribution.define_model('$e1', 'm', 'linear')$$),
    ('model: unknown method',             '22023', '', $$SELECT attribution.define_model('$t', 'm', 'magic')$$),
    ('model: unknown parameter',          '22023', '', $$SELECT attribution.define_model('$t', 'm', 'linear', '{"look_back": 30}')$$),
    ('model: parameter of another method', '22023', '', $$SELECT attribution.define_model('$t', 'm', 'linear', '{"half_life_days": 7}')$$),
    ('model: value of the wrong kind',    '22023', '', $$SELECT attribution.define_model('$t', 'm', 'linear', '{"lookback_days": "30"}')$$),
    ('model: value out of range',         '22023', '', $$SELECT attribution.define_model('$t', 'm', 'linear', '{"lookback_days": 36501}')$$),
    ('model: more than 1000 channels',    '22023', '', $$SELECT attribution.define_model('$t', 'm', 'linear', jsonb_build_object('exclude_channels', (SELECT jsonb_agg('c' || i) FROM generate_series(1, 1001) AS i)))$$),
    ('model: parameters are no object',   '22023', '', $$SELECT attribution.define_model('$t', 'm', 'linear', '[]')$$),
    ('model: custom without weights',     '22023', '', $$SELECT attribution.define_model('$t', 'm', 'custom', '{"lookback_days": 7}')$$),
    ('model: known with other definition', '23505', 'attribution_models_pkey', $$SELECT attribution.define_model('$t', 'linear', 'first_touch')$$);
INSERT INTO promised (what, state, constraint_name, call) VALUES
    ('by model: argument null',           '22004', '', $$SELECT attribution.allocate_event('$t', NULL, 'linear')$$),
    ('by model: unknown tenant',          '22023', '', $$SELECT attribution.allocate_event('$e2', '$e2', 'linear')$$),
    ('by model: unknown event',           '22023', '', $$SELECT attribution.allocate_event('$t', '$t', 'linear')$$),
    ('by model: a touch',                 '22023', '', $$SELECT attribution.allocate_event('$t', '$e0', 'linear')$$),
    ('by model: version empty',           '22023', '', $$SELECT attribution.allocate_event('$t', '$e2', '')$$),
    ('by model: version over 255 bytes',  '54000', '', $$SELECT attribution.allocate_event('$t', '$e2', repeat('x', 256))$$),
    ('by model: unknown model version',   '22023', '', $$SELECT attribution.allocate_event('$t', '$e2', 'none')$$),
    ('by model: weights are the caller''s', '22023', '', $$SELECT attribution.allocate_event('$t', '$e2', '1')$$),
    ('by model: more than 10000 channels', '54000', '', $$INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, session_id, channel) SELECT '$t', 'touch', '2024-03-04', '$e4', 'c' || i FROM generate_series(1, 10001) AS i;
        INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, revenue_cents) VALUES ('$t', '$e4', 'conversion', '2024-03-04', '$e4', 1);
        SELECT attribution.allocate_event('$t', '$e4', 'linear')$$),
    ('refund of what is not allocated',   '22023', '', $$SELECT attribution.allocate_event('$t', '$e3', 'linear')$$),
    ('refund of more than is left',       '23514', 'channel_is_not_below_zero', $$INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents) VALUES ('$t', '$e4', 'refund', '2024-03-04', '$e1', -91);
        SELECT attribution.allocate_event('$t', '$e4', '2')$$);
INSERT INTO promised (what, state, call) VALUES
    ('bulk: argument null',               '22004', $$CALL attribution.allocate_events('$t', NULL)$$),
    ('bulk: version empty',               '22023', $$CALL attribution.allocate_events('$t', '')$$),
    ('bulk: version over 255 bytes',      '54000', $$CALL attribution.allocate_events('$t', repeat('x', 256))$$),
    ('bulk: batch size null',             '22004', $$CALL attribution.allocate_events('$t', 'linear', batch_size => NULL)$$),
    ('bulk: batches of nothing',          '22023', $$CALL attribution.allocate_events('$t', 'linear', batch_size => 0)$$),
    ('bulk: batches above 100000',        '22023', $$CALL attribution.allocate_events('$t', 'linear', batch_size => 100001)$$),
    ('bulk: in a transaction block',      '2D000', $$CALL attribution.allocate_events('$t', 'linear')$$);
INSERT INTO promised (what, state, constraint_name, call) VALUES
    ('allocated with other weights',      '23505', 'allocation_is_unchanged', $$SELECT attribution.allocate_event('$t', '$e1', '1', '{email, tv}', '{1, 2}')$$),
    ('allocated to other channels',       '23505', 'allocation_is_unchanged', $$SELECT attribution.allocate_event('$t', '$e1', '1', '{email}', '{1}')$$),
    ('sum differs: insert',               '23514', 'allocation_sum_equals_revenue', $$INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES ('$t', '$e2', '1', 'a', 99)$$),
    ('sum differs: update',               '23514', 'allocation_sum_equals_revenue', $$UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 51 WHERE tenant_id = '$t' AND model_version = '2' AND channel = 'tv'$$),
    ('sum differs: delete',               '23514', 'allocation_sum_equals_revenue', $$DELETE FROM attribution.attribution_allocations WHERE tenant_id = '$t' AND model_version = '2' AND channel = 'tv'$$),
    ('sum differs: revenue of the event', '23514', 'allocation_sum_equals_revenue', $$UPDATE attribution.attribution_events SET revenue_cents = 101 WHERE tenant_id = '$t' AND id = '$e1'$$),
    ('channel below zero: conversion',    '23514', 'channel_is_not_below_zero', $$INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES ('$t', '$e2', '1', 'a', 101), ('$t', '$e2', '1', 'b', -1)$$),
    ('channel below zero: refund',        '23514', 'channel_is_not_below_zero', $$INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES ('$t', '$e3', '9', 'a', -10)$$),
    ('key of an allocation changed',      '23514', 'allocation_key_is_immutable', $$UPDATE attribution.attribution_allocations SET channel = 'x' WHERE tenant_id = '$t' AND model_version = '2' AND channel = 'tv'$$),
    ('channel stored twice',              '23505', 'idx_attribution_allocations_tenant_event_model_channel', $$INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES ('$t', '$e1', '1', 'tv', 0)$$),
    ('allocation of an unknown event',    '23503', 'attribution_allocations_event_fkey', $$INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES ('$t', '$t', '1', 'tv', 0)$$),
    ('model version changed',             '23514', 'model_version_is_immutable', $$UPDATE attribution.attribution_models SET method = 'custom' WHERE tenant_id = '$t' AND model_version = 'linear'$$),
    ('unknown method',                    '23514', 'attribution_models_method', $$INSERT INTO attribution.attribution_models (tenant_id, model_version, method) VALUES ('$t', 'm', 'magic')$$);
INSERT INTO promised (what, state, constraint_name, call) VALUES
    ('tenant without a name',             '23514', 'tenants_name_not_blank', $$INSERT INTO attribution.tenants (name) VALUES (' ')$$),
    ('tenant name over 255 bytes',        '23514', 'tenants_name_length', $$INSERT INTO attribution.tenants (name) VALUES (repeat('x', 256))$$),
    ('unknown currency',                  '23503', 'tenants_currency_fkey', $$INSERT INTO attribution.tenants (name, currency) VALUES ('x', 'XTS')$$),
    ('currency of a tenant with events',  '23514', 'tenant_currency_is_fixed', $$UPDATE attribution.tenants SET currency = 'EUR' WHERE id = '$t'$$),
    ('deleting a tenant with rows',       '23503', 'attribution_events_tenant_fkey', $$DELETE FROM attribution.tenants WHERE id = '$t'$$),
    ('deleting a conversion with refunds', '23503', 'attribution_events_refund_of_fkey', $$DELETE FROM attribution.attribution_events WHERE tenant_id = '$t' AND id = '$e1'$$),
    ('refund beyond the conversion',      '23514', 'refunds_do_not_exceed_conversion', $$INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, refund_of, revenue_cents) VALUES ('$t', 'refund', '2024-03-03', '$e1', -91)$$),
    ('refund raised beyond it',           '23514', 'refunds_do_not_exceed_conversion', $$INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, refund_of, revenue_cents) VALUES ('$t', 'refund', '2024-03-03', '$e2', -100);
        UPDATE attribution.attribution_events SET revenue_cents = -101 WHERE tenant_id = '$t' AND refund_of = '$e2'$$),
    ('refund of a refund',                '23514', 'refund_names_conversion', $$INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, refund_of, revenue_cents) VALUES ('$t', 'refund', '2024-03-03', '$e3', -1)$$),
    ('refunded conversion changed',       '23514', 'event_key_is_immutable', $$UPDATE attribution.attribution_events SET refund_of = '$e2' WHERE tenant_id = '$t' AND id = '$e3'$$),
    ('second running reconciliation',     '23505', 'idx_reconciliation_runs_one_running', $$INSERT INTO attribution.reconciliation_runs (tenant_id, state) VALUES ('$t', 'running')$$);
INSERT INTO promised (what, state, call) VALUES
    ('event: argument null',              '22004', $$SELECT attribution.ingest_event('$t', NULL, 'conversion', '2024-03-01', 1)$$),
    ('event: unknown type',               '22023', $$SELECT attribution.ingest_event('$t', 's', 'purchase', '2024-03-01', 1)$$),
    ('event: revenue of a touch',         '22023', $$SELECT attribution.ingest_event('$t', 's', 'touch', '2024-03-01', 1, channel => 'email')$$),
    ('event: touch without channel',      '22023', $$SELECT attribution.ingest_event('$t', 's', 'touch', '2024-03-01')$$),
    ('event: conversion of 0 or less',    '22023', $$SELECT attribution.ingest_event('$t', 's', 'conversion', '2024-03-01', 0)$$),
    ('event: refund of 0 or more',        '22023', $$SELECT attribution.ingest_event('$t', 's', 'refund', '2024-03-01', 10, refund_of => '$e1')$$),
    ('event: refund of nothing',          '22023', $$SELECT attribution.ingest_event('$t', 's', 'refund', '2024-03-01', -10)$$),
    ('event: refund of an unknown event', '22023', $$SELECT attribution.ingest_event('$t', 's', 'refund', '2024-03-01', -10, refund_of => '$t')$$),
    ('event: refund of a refund',         '22023', $$SELECT attribution.ingest_event('$t', 's', 'refund', '2024-03-01', -10, refund_of => '$e3')$$),
    ('event: infinite time',              '22023', $$SELECT attribution.ingest_event('$t', 's', 'conversion', 'infinity', 1)$$),
    ('event: before 1970',                '22023', $$SELECT attribution.ingest_event('$t', 's', 'conversion', '1969-12-31', 1)$$),
    ('event: empty text',                 '22023', $$SELECT attribution.ingest_event('$t', 's', 'conversion', '2024-03-01', 1, '')$$),
    ('event: text over 255 bytes',        '54000', $$SELECT attribution.ingest_event('$t', 's', 'conversion', '2024-03-01', 1, repeat('x', 256))$$);
INSERT INTO promised (what, state, constraint_name, call) VALUES
    ('event: unknown tenant',             '23503', 'attribution_events_tenant_fkey', $$SELECT attribution.ingest_event('$e1', 's', 'conversion', '2024-03-01', 1)$$),
    ('event: refund beyond conversion',    '23514', 'refunds_do_not_exceed_conversion', $$SELECT attribution.ingest_event('$t', 's', 'refund', '2024-03-01', -91, refund_of => '$e1')$$),
    ('event: known with other content',   '23505', 'event_content_is_unchanged', $$SELECT attribution.ingest_event('$t', 's', 'conversion', '2024-03-01', 101, 'test:order:1')$$);
INSERT INTO promised (what, state, constraint_name, call) VALUES
    ('posting: argument null',            '22004', '', $$SELECT attribution.post_allocations('$t', NULL)$$),
    ('posting: unknown tenant',           '22023', '', $$SELECT attribution.post_allocations('$e1', '1')$$),
    ('posting: unknown model version',    '22023', '', $$SELECT attribution.post_allocations('$t', 'none')$$),
    ('posting: second model version',     '23505', 'ledger_books_pkey', $$SELECT attribution.post_allocations('$t', '2')$$),
    ('ledger row deleted',                '23514', 'ledger_is_append_only', $$DELETE FROM attribution.revenue_ledger WHERE tenant_id = '$t'$$),
    ('ledger row changed',                '23514', 'ledger_is_append_only', $$UPDATE attribution.revenue_ledger SET revenue_cents = 0 WHERE tenant_id = '$t'$$),
    ('ledger book changed',               '23514', 'ledger_is_append_only', $$UPDATE attribution.ledger_books SET model_version = '2' WHERE tenant_id = '$t'$$),
    ('ledger truncated',                  '23514', 'ledger_is_append_only', $$TRUNCATE attribution.revenue_ledger$$),
    ('posted allocation deleted',         '23503', 'revenue_ledger_allocation_fkey', $$DELETE FROM attribution.attribution_allocations WHERE tenant_id = '$t' AND model_version = '1'$$),
    ('ledger row of two origins',         '23514', 'revenue_ledger_one_origin', $$INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, revenue_cents) VALUES ('$t', '$e1', 1)$$);
INSERT INTO promised (what, state, constraint_name, call) VALUES
    ('webhook: argument null',            '22004', '', $$SELECT attribution.ingest_webhook('$t', NULL, 'orders/paid', '{}')$$),
    ('webhook: payload null',             '22004', '', $$SELECT attribution.ingest_webhook('$t', 'shopify', 'orders/paid', NULL)$$),
    ('webhook: source empty',             '22023', '', $$SELECT attribution.ingest_webhook('$t', '', 'orders/paid', '{}')$$),
    ('webhook: topic over 255 bytes',     '54000', '', $$SELECT attribution.ingest_webhook('$t', 'shopify', repeat('x', 256), '{}')$$),
    ('webhook: unknown tenant',           '22023', '', $$SELECT attribution.ingest_webhook('$e1', 'shopify', 'orders/paid', '{}')$$),
    ('webhook: body is no JSON',          '22P02', '', $$SELECT attribution.ingest_webhook('$t', 'shopify', 'orders/paid', 'oops')$$),
    ('webhook: body with a NUL',          '22P05', '', $$SELECT attribution.ingest_webhook('$t', 'shopify', 'orders/paid', '"\u0000"')$$),
    ('webhook: text null',                '22004', '', $$SELECT attribution.ingest_webhook_text('$t', 'shopify', 'orders/paid', NULL)$$),
    ('dead events: argument null',        '22004', '', $$SELECT attribution.retry_dead_events(NULL)$$),
    ('dead events: retrying none',        '22023', '', $$SELECT attribution.retry_dead_events('$t', limit_rows => 0)$$),
    ('ledger row unlike its allocation',  '23514', 'posting_matches_allocation', $$INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, allocation_id, revenue_cents) SELECT '$t', '$e1', a.id, 7 FROM attribution.attribution_allocations a WHERE a.tenant_id = '$t' AND a.model_version = '2' LIMIT 1$$),
    ('reversing: argument null',          '22004', '', $$SELECT attribution.reverse_posting('$t', NULL)$$),
    ('reversing an unknown posting',      '22023', '', $$SELECT attribution.reverse_posting('$t', '$e1')$$),
    ('conservation: argument null',       '22004', '', $$SELECT attribution.conservation(NULL)$$);
-- $c1 is running, $c2 is completed; the other tenant's run was started by this session.
INSERT INTO promised (what, state, constraint_name, call) VALUES
    ('reconciliation: argument null',     '22004', '', $$SELECT attribution.settle('$t', '$c1', NULL)$$),
    ('reconciliation: unknown tenant',    '22023', '', $$SELECT attribution.start_reconciliation('$e1')$$),
    ('reconciliation: unknown run',       '22023', '', $$SELECT attribution.finish_reconciliation('$t', '$e1')$$),
    ('reconciliation: another at work',   '55P03', '', $$SELECT attribution.start_reconciliation('e4404500-0000-4000-8000-00000000000b')$$),
    ('reconciliation: run has ended',     '55000', '', $$SELECT attribution.settle('$t', '$c2', '[]')$$),
    ('reconciliation: failing a completed', '55000', '', $$SELECT attribution.fail_reconciliation('$t', '$c2', 'x')$$),
    ('settlements: not an array',         '22023', '', $$SELECT attribution.settle('$t', '$c1', '{}')$$),
    ('settlements: no object',            '22023', '', $$SELECT attribution.settle('$t', '$c1', '[1]')$$),
    ('settlements: key missing',          '22023', '', $$SELECT attribution.settle('$t', '$c1', '[{"amount_cents": 1}]')$$),
    ('settlements: key over 255 bytes',   '22023', '', $$SELECT attribution.settle('$t', '$c1', jsonb_build_array(jsonb_build_object('key', repeat('x', 256), 'amount_cents', 1)))$$),
    ('settlements: amount not whole',     '22023', '', $$SELECT attribution.settle('$t', '$c1', '[{"key": "x", "amount_cents": 0.5}]')$$),
    ('settlements: amount beyond bigint', '22023', '', $$SELECT attribution.settle('$t', '$c1', '[{"key": "x", "amount_cents": 9223372036854775808}]')$$),
    ('settlements: key with two amounts', '23505', 'settlement_is_unchanged', $$SELECT attribution.settle('$t', '$c1', '[{"key": "x", "amount_cents": 1}, {"key": "x", "amount_cents": 2}]')$$),
    ('reconcile in a transaction block',  '2D000', '', $$CALL attribution.reconcile('$t', '[]')$$);
INSERT INTO promised (what, state, call) VALUES
    ('refresh: argument null',            '22004', $$SELECT attribution.refresh('mv_realtime_revenue', NULL)$$),
    ('refresh: unknown view',             '22023', $$SELECT attribution.refresh('mv_unknown')$$),
    ('refresh: unknown mode',             '22023', $$SELECT attribution.refresh('mv_realtime_revenue', 'fast')$$),
    -- A failure is a row of the log and a WARNING.
    ('refresh: incremental in doubt',      '55000', $$REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue;
        DO $do$ DECLARE error text := (SELECT l.error FROM attribution.refresh('mv_realtime_revenue', 'incremental') AS l);
        BEGIN RAISE EXCEPTION '%', substr(error, 8) USING ERRCODE = left(error, 5); END $do$ $$),
    ('refresh_doubt: unknown view',       '22023', $$SELECT attribution_internal.refresh_doubt('mv_unknown')$$),
    ('log of changes written by hand',    '42809', $$DELETE FROM attribution_internal.realtime_revenue_changes$$),
    ('refresh_all in a transaction block', '2D000', $$CALL attribution.refresh_all()$$),
    ('view read before its first refresh', '55000', $$REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue WITH NO DATA; SELECT attribution.realtime_revenue('$t')$$);
INSERT INTO promised (what, state, constraint_name, call) VALUES
    ('access: argument null',             '22004', '', $$SELECT attribution.grant_access('regress_attribution_stranger', NULL)$$),
    ('access: unknown kind',              '22023', '', $$SELECT attribution.grant_access('regress_attribution_stranger', 'admin')$$),
    ('access: unknown role',              '42704', '', $$SELECT attribution.grant_access('regress_attribution_unknown', 'reader')$$),
    ('access: role public',               '42704', '', $$SELECT attribution.grant_access('public', 'reader')$$),
    ('binding: argument null',            '22004', '', $$SELECT attribution.bind_tenant(NULL, '$t')$$),
    ('binding: unknown role',             '42704', '', $$SELECT attribution.bind_tenant('regress_attribution_unknown', '$t')$$),
    ('binding: unknown tenant',           '23503', 'tenant_bindings_tenant_fkey', $$SELECT attribution.bind_tenant('regress_attribution_stranger', '$e1')$$),
    ('setting: tenant_id is no UUID',     '22023', '', $$SET attribution.tenant_id = 'a shop'$$),
    ('setting: unknown name',             '42602', '', $$SET attribution.tenant = 'a shop'$$),
    ('setting: tolerance out of range',   '22023', '', $$SET attribution.sum_tolerance_cents = -1$$),
    ('setting: log limit out of range',   '22023', '', $$SET attribution.change_log_limit = 0$$),
    ('setting: log limit by a user',      '42501', '', $$SET LOCAL ROLE regress_attribution_stranger; SET attribution.change_log_limit = '1MB'$$),
    ('setting: tolerance by a user',      '42501', '', $$SET LOCAL ROLE regress_attribution_stranger; SET attribution.sum_tolerance_cents = 1$$),
    ('tenant of another: posting',        '42501', '', $$SET LOCAL ROLE regress_attribution_stranger; SELECT attribution.post_allocations('$t', '1')$$),
    ('tenant of another: revenue',        '42501', '', $$SET LOCAL ROLE regress_attribution_stranger; SELECT attribution.realtime_revenue('$t')$$),
    ('tenant of another: event',          '42501', '', $$SET LOCAL ROLE regress_attribution_stranger; SELECT attribution.ingest_event('$t', 's', 'conversion', '2024-03-01', 1)$$),
    ('tenant of another: row',            '42501', '', $$SET LOCAL ROLE regress_attribution_stranger; INSERT INTO attribution.dead_events (tenant_id, source, error_code) VALUES ('$t', 's', 'e')$$),
    ('tenant other than the bound one',   '42501', '', $$SET LOCAL SESSION AUTHORIZATION regress_attribution_bound; SET LOCAL attribution.tenant_id = '$t'; SELECT attribution.current_tenant()$$),
    ('tenant of another: reconciliation', '42501', '', $$SET LOCAL ROLE regress_attribution_stranger; SELECT attribution.start_reconciliation('$t')$$),
    ('right not granted',                 '42501', '', $$SET LOCAL ROLE regress_attribution_bound; SELECT attribution.refresh('mv_realtime_revenue')$$);
INSERT INTO promised (what, state, call) VALUES
    ('read-only: allocate_event',         '25006', $$SET LOCAL transaction_read_only = on; SELECT attribution.allocate_event('$t', '$e1', '1', '{email, tv}', '{1, 1}')$$),
    ('read-only: allocate_event by model', '25006', $$SET LOCAL transaction_read_only = on; SELECT attribution.allocate_event('$t', '$e1', '1')$$),
    ('read-only: allocate_events',        '25006', $$SET LOCAL transaction_read_only = on; CALL attribution.allocate_events('$t', 'linear')$$),
    ('read-only: define_model',           '25006', $$SET LOCAL transaction_read_only = on; SELECT attribution.define_model('$t', 'linear', 'linear')$$),
    ('read-only: ingest_event',           '25006', $$SET LOCAL transaction_read_only = on; SELECT attribution.ingest_event('$t', 's', 'conversion', '2024-03-01 12:00Z', 100, 'test:order:1')$$),
    ('read-only: post_allocations',       '25006', $$SET LOCAL transaction_read_only = on; SELECT attribution.post_allocations('$t', '1')$$),
    ('read-only: ingest_webhook',         '25006', $$SET LOCAL transaction_read_only = on; SELECT attribution.ingest_webhook('$t', 'shopify', 'orders/paid', '{}')$$),
    ('read-only: retry_dead_events',      '25006', $$SET LOCAL transaction_read_only = on; SELECT attribution.retry_dead_events('$t')$$),
    ('read-only: reverse_posting',        '25006', $$SET LOCAL transaction_read_only = on; SELECT attribution.reverse_posting('$t', '$e1')$$),
    ('read-only: start_reconciliation',   '25006', $$SET LOCAL transaction_read_only = on; SELECT attribution.start_reconciliation('$t')$$),
    ('read-only: settle',                 '25006', $$SET LOCAL transaction_read_only = on; SELECT attribution.settle('$t', '$c1', '[]')$$),
    ('read-only: finish_reconciliation',  '25006', $$SET LOCAL transaction_read_only = on; SELECT attribution.finish_reconciliation('$t', '$c1')$$),
    ('read-only: fail_reconciliation',    '25006', $$SET LOCAL transaction_read_only = on; SELECT attribution.fail_reconciliation('$t', '$c1', 'x')$$),
    ('read-only: reconcile',              '25006', $$SET LOCAL transaction_read_only = on; CALL attribution.reconcile('$t', '[]')$$),
    ('read-only: refresh',                '25006', $$SET LOCAL transaction_read_only = on; SELECT attribution.refresh('mv_realtime_revenue')$$),
    ('trigger function called',           '39P01', $$SELECT attribution_internal.check_allocation_sum()$$),
    ('capturing trigger function called', '39P01', $$SELECT attribution_internal.capture_summary_change()$$),
    ('event trigger function called',     '39P01', $$SELECT attribution_internal.notice_refresh()$$);

-- Each call as a transaction of its own would end; nothing stays.
CREATE FUNCTION pg_temp.outcome(call text, OUT state text, OUT constraint_name text, OUT message text) LANGUAGE plpgsql AS $$
BEGIN
    call := replace(call, '$t', 'e4404500-0000-4000-8000-00000000000a');
    call := regexp_replace(call, '\$([ec]\d)', 'e4404500-0000-4000-8000-0000000000\1', 'g');
    EXECUTE call;
    SET CONSTRAINTS ALL IMMEDIATE;
    RAISE EXCEPTION 'it was not refused' USING ERRCODE = 'ZZ000';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, constraint_name = CONSTRAINT_NAME, message = MESSAGE_TEXT;
END $$;
CREATE TEMP TABLE observed AS
SELECT p.nr, o.* FROM promised AS p, pg_temp.outcome(p.call) AS o ORDER BY p.nr;
-- An isolation level that keeps its snapshot.
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO promised (what, state, call) VALUES ('refresh at REPEATABLE READ', '25001', $$SELECT attribution.refresh('mv_realtime_revenue')$$);
INSERT INTO observed SELECT p.nr, o.* FROM promised AS p, pg_temp.outcome(p.call) AS o WHERE p.what = 'refresh at REPEATABLE READ';
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO promised (what, state, call) VALUES ('refresh at SERIALIZABLE', '25001', $$SELECT attribution.refresh('mv_realtime_revenue')$$);
INSERT INTO observed SELECT p.nr, o.* FROM promised AS p, pg_temp.outcome(p.call) AS o WHERE p.what = 'refresh at SERIALIZABLE';
COMMIT;
-- What commits cannot be called by the function above: these two by themselves.
INSERT INTO promised (what, state, call) VALUES
    ('bulk: unknown tenant',              '22023', $$CALL attribution.allocate_events('$e1', 'linear')$$),
    ('bulk: unknown model version',       '22023', $$CALL attribution.allocate_events('$t', 'none')$$);
CALL attribution.allocate_events('e4404500-0000-4000-8000-0000000000e1', 'linear');
INSERT INTO observed SELECT nr, :'LAST_ERROR_SQLSTATE', '', :'LAST_ERROR_MESSAGE' FROM promised WHERE what = 'bulk: unknown tenant';
CALL attribution.allocate_events(:t, 'none');
INSERT INTO observed SELECT nr, :'LAST_ERROR_SQLSTATE', '', :'LAST_ERROR_MESSAGE' FROM promised WHERE what = 'bulk: unknown model version';

-- Promises that are broken: none.
SELECT p.what, p.state, o.state AS observed, p.constraint_name, o.constraint_name AS observed_constraint, o.message
FROM promised AS p LEFT JOIN observed AS o USING (nr)
WHERE (o.state, o.constraint_name) IS DISTINCT FROM (p.state, p.constraint_name)
ORDER BY p.nr;
-- Messages begin in lower case and end without a period, as PostgreSQL's own.
SELECT what, message FROM promised JOIN observed USING (nr)
WHERE message !~ '^[a-z0-9"-]' OR message ~ '\.$'
ORDER BY nr;
-- The table.
SELECT what, state, constraint_name FROM promised ORDER BY nr;
-- By SQLSTATE.
SELECT state, count(*) AS inputs FROM promised GROUP BY state ORDER BY state;

SELECT attribution.bind_tenant('regress_attribution_bound', NULL);
DROP OWNED BY regress_attribution_stranger, regress_attribution_bound;
DROP ROLE regress_attribution_stranger, regress_attribution_bound;
