-- psql: one line for each table of the schema attribution, found by the catalog: its name, its number of rows and their
-- digest. Variables:
--   leave_out   a regular expression of the tables that are left out
--   columns     all: every column. money: those whose value does not depend on when and where a row was written
--   extra       a regular expression of columns, written TABLE.COLUMN, that are left out, such as an owner's
\if :{?leave_out} \else \set leave_out '^$' \endif
\if :{?columns} \else \set columns all \endif
\if :{?extra} \else \set extra '^$' \endif
SELECT format($$SELECT %L, count(*), md5(string_agg(r::text, E'\n' ORDER BY r::text COLLATE "C")) FROM (SELECT %s FROM %s) r$$,
              c.relname, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname), c.oid::regclass)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND c.relname || '.' || a.attname !~ :'extra'
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname !~ :'leave_out'
  AND NOT (:'columns' = 'money' AND a.atttypid = 'timestamptz'::regtype AND d.oid IS NOT NULL)
GROUP BY c.oid, c.relname ORDER BY c.relname \gexec
