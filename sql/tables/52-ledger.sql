-- ledger: what was posted, once, and never changed.

CREATE TABLE attribution.ledger_books (
    tenant_id     uuid        NOT NULL,
    conversion_id uuid        NOT NULL,
    model_version text        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ledger_books_pkey PRIMARY KEY (tenant_id, conversion_id),
    CONSTRAINT ledger_books_conversion_fkey FOREIGN KEY (tenant_id, conversion_id)
        REFERENCES attribution.attribution_events (tenant_id, id),
    CONSTRAINT ledger_books_model_version_length CHECK (octet_length(model_version) >= 1 AND octet_length(model_version) <= 255)
);
COMMENT ON TABLE attribution.ledger_books IS 'Under which model version a conversion and its refunds are posted: one, for ever.';
COMMENT ON COLUMN attribution.ledger_books.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.ledger_books.conversion_id IS 'The conversion.';
COMMENT ON COLUMN attribution.ledger_books.model_version IS 'The model version of all its postings.';
COMMENT ON COLUMN attribution.ledger_books.created_at IS 'When the row was inserted.';

CREATE TABLE attribution.revenue_ledger (
    tenant_id             uuid        NOT NULL,
    id                    uuid        NOT NULL DEFAULT attribution.uuid_v7(),
    conversion_id         uuid        NOT NULL,
    allocation_id         uuid,
    reverses_id           uuid,
    reconciliation_run_id uuid,
    revenue_cents         bigint      NOT NULL,
    is_verified           boolean     NOT NULL DEFAULT false,
    verified_at           timestamptz,
    posted_at             timestamptz NOT NULL DEFAULT now(),
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT revenue_ledger_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT revenue_ledger_book_fkey FOREIGN KEY (tenant_id, conversion_id)
        REFERENCES attribution.ledger_books (tenant_id, conversion_id),
    CONSTRAINT revenue_ledger_allocation_fkey FOREIGN KEY (tenant_id, allocation_id)
        REFERENCES attribution.attribution_allocations (tenant_id, id),
    CONSTRAINT revenue_ledger_reverses_fkey FOREIGN KEY (tenant_id, reverses_id)
        REFERENCES attribution.revenue_ledger (tenant_id, id),
    CONSTRAINT revenue_ledger_run_fkey FOREIGN KEY (tenant_id, reconciliation_run_id)
        REFERENCES attribution.reconciliation_runs (tenant_id, id),
    CONSTRAINT revenue_ledger_one_origin CHECK (num_nonnulls(allocation_id, reverses_id) = 1),
    CONSTRAINT revenue_ledger_verified_has_time CHECK (is_verified = (verified_at IS NOT NULL))
);
COMMENT ON TABLE attribution.revenue_ledger IS
'Postings: each copies one allocation, or reverses one posting. Append-only: nothing but the verification columns ever changes.';
COMMENT ON COLUMN attribution.revenue_ledger.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.revenue_ledger.id IS 'UUID, version 7 by default.';
COMMENT ON COLUMN attribution.revenue_ledger.conversion_id IS 'The conversion whose book the row belongs to; of a refund, the conversion refunded.';
COMMENT ON COLUMN attribution.revenue_ledger.allocation_id IS 'The allocation that was posted; NULL for a reversing entry.';
COMMENT ON COLUMN attribution.revenue_ledger.reverses_id IS 'The posting this one takes back; NULL for a posted allocation.';
COMMENT ON COLUMN attribution.revenue_ledger.reconciliation_run_id IS 'The run that verified the row.';
COMMENT ON COLUMN attribution.revenue_ledger.revenue_cents IS 'Minor units of the tenant''s currency.';
COMMENT ON COLUMN attribution.revenue_ledger.is_verified IS 'True once a reconciliation found the amount settled.';
COMMENT ON COLUMN attribution.revenue_ledger.verified_at IS 'When it was verified.';
COMMENT ON COLUMN attribution.revenue_ledger.posted_at IS 'When it was posted.';
COMMENT ON COLUMN attribution.revenue_ledger.created_at IS 'When the row was inserted.';
COMMENT ON COLUMN attribution.revenue_ledger.updated_at IS 'When the row was last updated (kept by a trigger).';

CREATE INDEX idx_revenue_ledger_tenant_updated_at ON attribution.revenue_ledger (tenant_id, updated_at DESC);
CREATE INDEX idx_revenue_ledger_is_verified ON attribution.revenue_ledger (is_verified) WHERE is_verified = true;
CREATE UNIQUE INDEX idx_revenue_ledger_tenant_allocation_id ON attribution.revenue_ledger (tenant_id, allocation_id)
    WHERE allocation_id IS NOT NULL;
CREATE INDEX idx_revenue_ledger_tenant_conversion_id ON attribution.revenue_ledger (tenant_id, conversion_id);
CREATE UNIQUE INDEX idx_revenue_ledger_tenant_reverses_id ON attribution.revenue_ledger (tenant_id, reverses_id)
    WHERE reverses_id IS NOT NULL;
CREATE INDEX idx_revenue_ledger_tenant_reconciliation_run_id ON attribution.revenue_ledger (tenant_id, reconciliation_run_id)
    WHERE reconciliation_run_id IS NOT NULL;
CREATE TRIGGER posting_matches_allocation AFTER INSERT ON attribution.revenue_ledger
    FOR EACH ROW EXECUTE FUNCTION attribution_internal.check_posting();
ALTER TABLE attribution.revenue_ledger ENABLE ALWAYS TRIGGER posting_matches_allocation;
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON attribution.revenue_ledger
    FOR EACH ROW EXECUTE FUNCTION attribution_internal.touch_updated_at();
CREATE TRIGGER ledger_is_append_only AFTER UPDATE OR DELETE ON attribution.revenue_ledger
    FOR EACH ROW EXECUTE FUNCTION attribution_internal.keep_ledger();
ALTER TABLE attribution.revenue_ledger ENABLE ALWAYS TRIGGER ledger_is_append_only;
CREATE TRIGGER ledger_is_never_truncated BEFORE TRUNCATE ON attribution.revenue_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.keep_ledger();
ALTER TABLE attribution.revenue_ledger ENABLE ALWAYS TRIGGER ledger_is_never_truncated;
CREATE TRIGGER ledger_is_append_only AFTER UPDATE OR DELETE ON attribution.ledger_books
    FOR EACH ROW EXECUTE FUNCTION attribution_internal.keep_ledger();
ALTER TABLE attribution.ledger_books ENABLE ALWAYS TRIGGER ledger_is_append_only;
CREATE TRIGGER ledger_is_never_truncated BEFORE TRUNCATE ON attribution.ledger_books
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.keep_ledger();
ALTER TABLE attribution.ledger_books ENABLE ALWAYS TRIGGER ledger_is_never_truncated;

ALTER TABLE attribution.ledger_books ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.ledger_books
    USING (tenant_id = attribution.current_tenant());
ALTER TABLE attribution.revenue_ledger ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.revenue_ledger
    USING (tenant_id = attribution.current_tenant());
