-- tenancy: currencies, tenants, and who may see which tenant.

CREATE TABLE attribution.currencies (
    code       char(3)  NOT NULL,
    decimals   smallint NOT NULL,
    is_shipped boolean  NOT NULL DEFAULT false,
    unit       numeric  GENERATED ALWAYS AS (
        CASE decimals WHEN 0 THEN 1 WHEN 1 THEN 0.1 WHEN 2 THEN 0.01 WHEN 3 THEN 0.001 WHEN 4 THEN 0.0001 END) STORED,
    CONSTRAINT currencies_pkey PRIMARY KEY (code),
    CONSTRAINT currencies_code_format CHECK (code ~ '^[A-Z]{3}$'),
    CONSTRAINT currencies_decimals_range CHECK (decimals >= 0 AND decimals <= 4)
);
COMMENT ON TABLE attribution.currencies IS 'ISO 4217 currencies and their minor units. Shared by all tenants; you may add rows.';
COMMENT ON COLUMN attribution.currencies.code IS 'ISO 4217 alphabetic code.';
COMMENT ON COLUMN attribution.currencies.decimals IS 'Decimals of the minor unit: 1 cent = 10^-decimals of the currency.';
COMMENT ON COLUMN attribution.currencies.unit IS 'One minor unit in units of the currency: 10^-decimals.';
COMMENT ON COLUMN attribution.currencies.is_shipped IS 'True for the rows of the extension itself.';

INSERT INTO attribution.currencies (code, decimals, is_shipped)
SELECT code, 2, true FROM unnest(string_to_array(
    'AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF '
    'CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD '
    'HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT '
    'MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR '
    'SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU '
    'UZS VED VES WST XCD XCG YER ZAR ZMW ZWG', ' ')) AS code
UNION ALL
SELECT code, 0, true FROM unnest(string_to_array(
    'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', ' ')) AS code
UNION ALL
SELECT code, 3, true FROM unnest(string_to_array('BHD IQD JOD KWD LYD OMR TND', ' ')) AS code
UNION ALL
SELECT code, 4, true FROM unnest(string_to_array('CLF UYW', ' ')) AS code
ON CONFLICT (code) DO NOTHING;

CREATE TABLE attribution.tenants (
    id         uuid        NOT NULL DEFAULT attribution.uuid_v7(),
    name       text        NOT NULL,
    currency   char(3)     NOT NULL DEFAULT 'USD',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tenants_pkey PRIMARY KEY (id),
    CONSTRAINT tenants_name_not_blank CHECK (name ~ '[^[:space:]]'),
    CONSTRAINT tenants_name_length CHECK (octet_length(name) <= 255),
    CONSTRAINT tenants_currency_fkey FOREIGN KEY (currency) REFERENCES attribution.currencies (code)
);
COMMENT ON TABLE attribution.tenants IS 'One merchant each. Every other row belongs to one tenant.';
COMMENT ON COLUMN attribution.tenants.id IS 'UUID, version 7 by default.';
COMMENT ON COLUMN attribution.tenants.name IS 'Not blank, at most 255 bytes.';
COMMENT ON COLUMN attribution.tenants.currency IS 'ISO 4217 code of all amounts of the tenant. Fixed once the tenant has events.';
COMMENT ON COLUMN attribution.tenants.created_at IS 'When the row was inserted.';
COMMENT ON COLUMN attribution.tenants.updated_at IS 'When the row was last updated (kept by a trigger).';

CREATE INDEX idx_tenants_name ON attribution.tenants (name);
CREATE INDEX idx_tenants_currency ON attribution.tenants (currency);

CREATE TRIGGER tenant_currency_is_fixed AFTER UPDATE ON attribution.tenants
    FOR EACH ROW WHEN (OLD.currency IS DISTINCT FROM NEW.currency)
    EXECUTE FUNCTION attribution_internal.keep_tenant_currency();
ALTER TABLE attribution.tenants ENABLE ALWAYS TRIGGER tenant_currency_is_fixed;
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON attribution.tenants
    FOR EACH ROW EXECUTE FUNCTION attribution_internal.touch_updated_at();

-- Which login role is tied to which tenant. Written by bind_tenant() only.
CREATE TABLE attribution.tenant_bindings (
    role_name name NOT NULL,
    tenant_id uuid NOT NULL,
    CONSTRAINT tenant_bindings_pkey PRIMARY KEY (role_name),
    CONSTRAINT tenant_bindings_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES attribution.tenants (id)
);
COMMENT ON TABLE attribution.tenant_bindings IS 'Login roles that may act for one tenant only. A property of this server''s roles.';
COMMENT ON COLUMN attribution.tenant_bindings.role_name IS 'Name of the login role.';
COMMENT ON COLUMN attribution.tenant_bindings.tenant_id IS 'The only tenant the role may act for.';
CREATE INDEX idx_tenant_bindings_tenant_id ON attribution.tenant_bindings (tenant_id);
CREATE TRIGGER forget_cached_rows AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON attribution.tenant_bindings
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.forget_cached_rows();
ALTER TABLE attribution.tenant_bindings ENABLE ALWAYS TRIGGER forget_cached_rows;

ALTER TABLE attribution.tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.tenants
    USING (id = attribution.current_tenant());
ALTER TABLE attribution.tenant_bindings ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.tenant_bindings
    USING (tenant_id = attribution.current_tenant());
