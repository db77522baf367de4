-- What the other files of the demo need: two merchants, exact money, a generator. A schema of its own,
-- so that it is plain what belongs to the demo and what to the extension.

CREATE SCHEMA demo;

-- One merchant with cents, one whose currency has three decimals. Fixed ids: keyed events and
-- allocations derive their ids from them, so every run of the demo makes the same rows.
INSERT INTO attribution.tenants (id, name, currency) VALUES
    ('0197b1a0-0000-7000-8000-000000000001', 'Juniper Goods', 'USD'),
    ('0197b1a0-0000-7000-8000-000000000002', 'Souk Direct', 'KWD');

CREATE FUNCTION demo.tenant(currency text) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT
    RETURN CASE currency WHEN 'USD' THEN '0197b1a0-0000-7000-8000-000000000001'::uuid
                         WHEN 'KWD' THEN '0197b1a0-0000-7000-8000-000000000002'::uuid END;

-- Number `n` of stream `stream`, 0 <= draw < below: two rounds of the Lehmer generator with a shift.
-- Plain integers, so that every machine and version draws the same.
CREATE FUNCTION demo.draw(n bigint, stream integer, below bigint) RETURNS bigint
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    x bigint := (n * 7919 + stream * 104729::bigint + 12345) % 2147483647;
BEGIN
    FOR round IN 1..2 LOOP
        x := (x * 48271) % 2147483647;
        x := x # (x >> 15);
    END LOOP;
    RETURN (x * below) >> 31;
END;
$$;

-- Letters and digits as in a provider's ids.
CREATE FUNCTION demo.token(n bigint, stream integer, length integer, alphabet text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
    RETURN (SELECT string_agg(substr(alphabet, 1 + demo.draw(n * 100 + i, stream, length(alphabet))::integer, 1), '' ORDER BY i)
            FROM generate_series(1, token.length) AS i);

-- 1999 cents is "19.99", with separators, padded so that a column of it is flush right.
CREATE FUNCTION demo.money(cents numeric, currency text, sign text DEFAULT 'FM') RETURNS text
    LANGUAGE sql STABLE STRICT
    RETURN (SELECT format('%15s', to_char(cents * power(10::numeric, -c.decimals),
                          sign || '999,999,999,999,999,999,990' || rtrim('.' || repeat('0', c.decimals), '.')))
            FROM attribution.currencies c WHERE c.code = money.currency);

CREATE FUNCTION demo.count(n numeric) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
    RETURN format('%9s', to_char(n, 'FM999,999,999,990'));
