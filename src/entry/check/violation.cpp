#include "entry/check/violation.hpp"

#include <algorithm>

#include "pg/types.hpp"

namespace attribution::entry {
namespace {

/// True for two violations of the same thing, whatever the amounts.
bool is_same(const Violation& a, const Violation& b) {
    return a.tenant_id == b.tenant_id && a.event_id == b.event_id &&
           strcmp(a.model_version, b.model_version) == 0 &&
           (a.rule != Rule::channels || strcmp(a.name, b.name) == 0);
}

Violation copy_into(MemoryContext memory, Violation violation) {
    for (const char** each : {&violation.model_version, &violation.name, &violation.revenue,
                              &violation.amount, &violation.difference})
        if (*each != nullptr)
            *each = MemoryContextStrdup(memory, *each);
    return violation;
}

/// What a user reads of a violation.
struct Wording {
    const char* constraint;
    const char* message;
    const char* concurrent_message;
    const char* detail;
    const char* hint;
};

Wording word_sum(const Violation& violation, const char* tenant, const char* event) {
    const char* numbers =
        violation.revenue == nullptr
            ? psprintf("allocated %s cents, the event is missing.", violation.amount)
            : psprintf("revenue %s, allocated %s, drift %s cents.", violation.revenue,
                       violation.amount, violation.difference);
    return {.constraint = "allocation_sum_equals_revenue",
            .message = "allocations do not sum to the revenue of the event",
            .concurrent_message = "allocations of the event were changed concurrently",
            .detail = psprintf("Tenant %s, event %s, model version \"%s\": %s", tenant, event,
                               violation.model_version, numbers),
            .hint = "Insert, change or delete allocations until they sum to the revenue, in one "
                    "transaction. A restore that writes a row or a batch at a time needs the "
                    "triggers after the rows: pre-data, data, post-data."};
}

Wording word_refunds(const Violation& violation, const char* tenant, const char* event) {
    const char* concurrent_message = "refunds of the conversion were changed concurrently";
    if (violation.name == nullptr || strcmp(violation.name, "conversion") != 0)
        return {.constraint = "refund_names_conversion",
                .message = "only a conversion can be refunded",
                .concurrent_message = concurrent_message,
                .detail = violation.name == nullptr
                              ? psprintf("Tenant %s, event %s: refunded %s cents, the event is "
                                         "missing.",
                                         tenant, event, violation.amount)
                              : psprintf("Tenant %s, event %s: refunded %s cents, it is a %s.",
                                         tenant, event, violation.amount, violation.name),
                .hint = "Let refund_of name the conversion."};
    return {.constraint = "refunds_do_not_exceed_conversion",
            .message = "refunds exceed the conversion",
            .concurrent_message = concurrent_message,
            .detail =
                psprintf("Tenant %s, conversion %s: revenue %s, refunded %s, excess %s cents.",
                         tenant, event, violation.revenue, violation.amount, violation.difference),
            .hint = "Refund at most what is left of the conversion."};
}

Wording word_channels(const Violation& violation, const char* tenant, const char* event) {
    return {.constraint = "channel_is_not_below_zero",
            .message = "a channel of the conversion is below zero",
            .concurrent_message =
                "allocations of the conversion or its refunds were changed concurrently",
            .detail =
                psprintf("Tenant %s, conversion %s, model version \"%s\", channel \"%s\": "
                         "%s cents, refunds included.",
                         tenant, event, violation.model_version, violation.name, violation.amount),
            .hint = "Give each channel zero or more, and let refunds take from it at most what is "
                    "left, in one transaction."};
}

Wording word_violation(const Violation& violation) {
    const char* tenant = pg::uuid_text(PointerGetDatum(violation.tenant_id.data()));
    const char* event = pg::uuid_text(PointerGetDatum(violation.event_id.data()));
    switch (violation.rule) {
    case Rule::sum:
        return word_sum(violation, tenant, event);
    case Rule::refunds:
        return word_refunds(violation, tenant, event);
    case Rule::channels:
        return word_channels(violation, tenant, event);
    }
    pg_unreachable();
}

[[noreturn]] void raise_violation(const Violation& violation, long count, bool is_concurrent) {
    const Wording wording = word_violation(violation);
    const char* more =
        count == 1 ? "" : psprintf(" It is the first of %ld in this transaction.", count);
    Relation relation = table_open(violation.relation, AccessShareLock);
    if (is_concurrent)
        ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                        errmsg("could not serialize access: %s", wording.concurrent_message),
                        errdetail("%s%s", wording.detail, more),
                        errhint("The transaction might succeed if retried."),
                        errtableconstraint(relation, wording.constraint)));
    ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION), errmsg("%s", wording.message),
                    errdetail("%s%s", wording.detail, more), errhint("%s", wording.hint),
                    errtableconstraint(relation, wording.constraint)));
    pg_unreachable();
}

} // namespace

void Findings::count(Firsts* firsts, const Violation& violation) const {
    First& first = (*firsts)[static_cast<std::size_t>(violation.rule)];
    if (first.count++ == 0)
        first.violation = copy_into(memory_, violation);
}

void Findings::add(std::span<const Violation> latest, std::span<const Violation> own) {
    const bool is_same_snapshot = own.data() == latest.data();
    for (const Violation& violation : latest) {
        const bool is_own =
            is_same_snapshot || std::any_of(own.begin(), own.end(), [&](const Violation& other) {
                return is_same(violation, other);
            });
        count(is_own ? &own_ : &concurrent_, violation);
    }
}

bool Findings::empty() const {
    const auto has_none = [](const First& first) { return first.count == 0; };
    return std::all_of(own_.begin(), own_.end(), has_none) &&
           std::all_of(concurrent_.begin(), concurrent_.end(), has_none);
}

void Findings::raise_first() const {
    for (const bool is_concurrent : {false, true})
        for (const First& first : is_concurrent ? concurrent_ : own_)
            if (first.count > 0)
                raise_violation(first.violation, first.count, is_concurrent);
}

} // namespace attribution::entry
