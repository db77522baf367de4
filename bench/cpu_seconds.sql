-- Seconds of CPU of this backend. schedstat counts nanoseconds; kernels without it count ticks of 10 ms.
CREATE OR REPLACE FUNCTION bench.cpu_seconds() RETURNS numeric
    LANGUAGE plpgsql AS $$
DECLARE
    words text[] := string_to_array(pg_read_file('/proc/self/schedstat', 0, 100, true), ' ');
BEGIN
    IF words[1]::numeric > 0 THEN
        RETURN words[1]::numeric / 1e9;
    END IF;
    words := string_to_array(regexp_replace(pg_read_file('/proc/self/stat', 0, 1000), '^.*\) ', ''), ' ');
    RETURN (words[12]::numeric + words[13]::numeric) / 100;
END $$;
