-- rounding_vectors: how other libraries split money, by the numbers of their own test suites, where
-- their rule agrees with ours (largest remainder on the absolute amount, the lower index wins a tie).
-- Where they round otherwise, doc/allocate.md says how.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
CREATE TEMP TABLE vectors (source text, total bigint, weights numeric[], expected bigint[]);
-- moneyphp/money: tests/MoneyTest.php
INSERT INTO vectors SELECT 'moneyphp/money', * FROM (VALUES
    (100::bigint, '{1,1,1}'::numeric[], '{34,33,33}'::bigint[]), (101, '{1,1,1}', '{34,34,33}'),
    (5, '{3,7}', '{2,3}'), (5, '{7,3}', '{4,1}'), (5, '{7,3,0}', '{4,1,0}'),
    (5, '{0,7,3}', '{0,4,1}'), (5, '{7,0,3}', '{4,0,1}'), (5, '{0,0,1}', '{0,0,5}'),
    (5, '{0,3,7}', '{0,2,3}'), (0, '{0,0,1}', '{0,0,0}'), (2, '{1,1,1}', '{1,1,0}'),
    (1, '{1,1}', '{1,0}'), (1, '{0.33,0.66}', '{0,1}'), (101, '{3,7}', '{30,71}'),
    (101, '{7,3}', '{71,30}'), (101, '{7,3}', '{71,30}'), (15, '{1,1}', '{8,7}'),
    (10, '{1,1}', '{5,5}'), (15, '{1,1,1}', '{5,5,5}'), (10, '{1,1,1}', '{4,3,3}')
) AS v;
-- RubyMoney/money: spec/money/allocation_spec.rb and money_spec.rb
-- (fractions with a denominator of 6 or 7 as whole weights of the same ratios)
INSERT INTO vectors SELECT 'RubyMoney/money', * FROM (VALUES
    (5::bigint, '{1,1}'::numeric[], '{3,2}'::bigint[]), (2, '{1,1,1}', '{1,1,0}'),
    (100, '{1,1,1}', '{34,33,33}'), (100, '{1,1,1,1,1,1}', '{17,17,17,17,16,16}'),
    (100, '{1,1,2}', '{25,25,50}'), (100, '{7,3}', '{70,30}'), (10, '{1,1,2}', '{3,2,5}'),
    (10, '{0.1,0.2,0.1}', '{3,5,2}'), (100, '{1,1,0}', '{50,50,0}'), (100, '{0,1,1}', '{0,50,50}'),
    (5, '{0.03,0.07}', '{2,3}'), (5, '{3,7}', '{2,3}'), (5, '{0.3,0.7}', '{2,3}'),
    (100, '{0.333,0.333,0.333}', '{34,33,33}'), (-100, '{0.333,0.333,0.333}', '{-34,-33,-33}'),
    (1000, '{0.6667,0.3333}', '{667,333}'), (-1000, '{0.6667,0.3333}', '{-667,-333}'),
    (6650, '{1,1,1,1,1,1,1}', '{950,950,950,950,950,950,950}')
) AS v;
-- Rhymond/go-money: money_test.go
INSERT INTO vectors SELECT 'Rhymond/go-money', * FROM (VALUES
    (100::bigint, '{50,50}'::numeric[], '{50,50}'::bigint[]), (100, '{30,30,30}', '{34,33,33}'),
    (200, '{25,25,50}', '{50,50,100}'), (5, '{50,25,25}', '{3,1,1}'), (0, '{50,10}', '{0,0}'),
    (10, '{0,100}', '{0,10}'), (100, '{33,33,33}', '{34,33,33}'), (100, '{1,1,1}', '{34,33,33}'),
    (100, '{1,1,1,1}', '{25,25,25,25}'), (5, '{1,1,1}', '{2,2,1}'),
    (-101, '{1,1,1,1}', '{-26,-25,-25,-25}'), (-2, '{1,1,1}', '{-1,-1,0}')
) AS v;
-- Shopify/money: spec/allocator_spec.rb and splitter_spec.rb
-- (fractions with a denominator of 6 or 7 as whole weights of the same ratios)
INSERT INTO vectors SELECT 'Shopify/money', * FROM (VALUES
    (5::bigint, '{0.3,0.7}'::numeric[], '{2,3}'::bigint[]),
    (100, '{0.333,0.333,0.333}', '{34,33,33}'), (85899345612, '{1,0}', '{85899345612,0}'),
    (300, '{1,5}', '{50,250}'), (100, '{0.02,0.98}', '{2,98}'), (5, '{0.33,0.34,0.33}', '{2,2,1}'),
    (1200, '{0.1,0.2}', '{400,800}'), (48851, '{0.111,0.05,0.5}', '{8204,3695,36952}'),
    (48851, '{0.05,0.111,0.5}', '{3695,8204,36952}'), (3, '{0.5,0.5}', '{2,1}'),
    (3, '{0.5,0.5}', '{2,1}'), (1055, '{0.25,0.5,0.25}', '{264,527,264}'),
    (10100, '{0.25,0.25,0.25,0.25}', '{2525,2525,2525,2525}'), (31, '{0.5,0.5}', '{16,15}'),
    (19535, '{0.025,0.025,0.125,0.125,0.4,0.3}', '{488,488,2442,2442,7814,5861}'),
    (3075, '{2600,475}', '{2600,475}'), (3000, '{1500,1500}', '{1500,1500}'),
    (100, '{3300,3300,3300}', '{34,33,33}'),
    (2420, '{4600,4600,5000,5000,5000}', '{460,460,500,500,500}'),
    (10000, '{1,1,1}', '{3334,3333,3333}'), (5000, '{1,1,1}', '{1667,1667,1666}'),
    (2, '{1,1}', '{1,1}'), (2, '{1,1,1}', '{1,1,0}'), (5, '{1,1}', '{3,2}'),
    (4, '{1,1,1}', '{2,1,1}')
) AS v;
-- dinerojs/dinero.js: distribute.test.ts and allocate.test.ts
INSERT INTO vectors SELECT 'dinerojs/dinero.js', * FROM (VALUES
    (1003::bigint, '{50,50}'::numeric[], '{502,501}'::bigint[]), (100, '{1,3}', '{25,75}'),
    (-1003, '{50,50}', '{-502,-501}'), (1003, '{0,50,50}', '{0,502,501}'),
    (5, '{100,101,100,100}', '{1,2,1,1}'), (801, '{1,3}', '{200,601}'), (5, '{50,50}', '{3,2}'),
    (5, '{1,3}', '{1,4}'),
    (1000000000000000025, '{50,50}', '{500000000000000013,500000000000000012}')
) AS v;
-- elixirmoney/money: test/money_test.exs
INSERT INTO vectors SELECT 'elixirmoney/money', * FROM (VALUES
    (200::bigint, '{1,1}'::numeric[], '{100,100}'::bigint[]), (201, '{1,1}', '{101,100}'),
    (302, '{1,1,1}', '{101,101,100}'), (100, '{1,1,1}', '{34,33,33}'), (-7, '{1,1}', '{-4,-3}'),
    (-1, '{1,1}', '{-1,0}')
) AS v;
-- davidkalosi/js-money: its tests
INSERT INTO vectors SELECT 'davidkalosi/js-money', * FROM (VALUES
    (1000::bigint, '{1,1,1}'::numeric[], '{334,333,333}'::bigint[])
) AS v;
-- scurker/currency.js: test/test.js
INSERT INTO vectors SELECT 'scurker/currency.js', * FROM (VALUES
    (100::bigint, '{1,1,1,1}'::numeric[], '{25,25,25,25}'::bigint[]),
    (101, '{1,1,1,1}', '{26,25,25,25}'), (-123, '{1,1,1,1}', '{-31,-31,-31,-30}'),
    (-1, '{1,1}', '{-1,0}'), (1234, '{1,1,1,1}', '{309,309,308,308}'), (1, '{1,1,1,1}', '{1,0,0,0}')
) AS v;
-- varunsrin/rusty_money: src/money.rs
INSERT INTO vectors SELECT 'varunsrin/rusty_money', * FROM (VALUES
    (10000::bigint, '{70,20,10}'::numeric[], '{7000,2000,1000}'::bigint[]),
    (1100, '{1,1,1}', '{367,367,366}'), (1000, '{1,0,0}', '{1000,0,0}'),
    (1000, '{1,1,1}', '{334,333,333}'),
    (100, '{1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}', '{1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,0}')
) AS v;
-- dgg/nmoneys: AllocateOperationsTester.cs
INSERT INTO vectors SELECT 'dgg/nmoneys', * FROM (VALUES
    (4000::bigint, '{1,1,1,1}'::numeric[], '{1000,1000,1000,1000}'::bigint[]),
    (5, '{0.3,0.7}', '{2,3}')
) AS v;

-- Every vector is here; none is split otherwise.
SELECT source, count(*) AS vectors FROM vectors GROUP BY source ORDER BY source COLLATE "C";
SELECT count(*) AS vectors FROM vectors;
SELECT source, total, weights, expected, attribution.allocate_cents(total, weights) AS allocated
FROM vectors
WHERE attribution.allocate_cents(total, weights) IS DISTINCT FROM expected
ORDER BY source COLLATE "C", total, weights;

-- The same with the sign turned, ...
SELECT source, total, weights, expected, attribution.allocate_cents(-total, weights) AS allocated
FROM vectors
WHERE attribution.allocate_cents(-total, weights) IS DISTINCT FROM
      (SELECT array_agg(-cents ORDER BY i) FROM unnest(expected) WITH ORDINALITY AS e (cents, i))
ORDER BY source COLLATE "C", total, weights;

-- ... with all weights times a number that no machine word holds, ...
SELECT source, total, weights, expected
FROM vectors
WHERE attribution.allocate_cents(total,
          (SELECT array_agg(weight * 1234567890123456789012345678.90123456789 ORDER BY i) FROM unnest(weights) WITH ORDINALITY AS w (weight, i)))
      IS DISTINCT FROM expected
ORDER BY source COLLATE "C", total, weights;

-- ... and equal weights as equal parts.
SELECT count(*) AS vectors,
       count(*) FILTER (WHERE attribution.allocate_cents(total, cardinality(weights)) = expected) AS reproduced
FROM vectors
WHERE weights[1] = ALL (weights);
