// Foreign keys: how the extension finds the tables that belong together, and the one place where
// rows are inserted without checking their keys one by one.
#pragma once

#include <span>
#include <type_traits>

#include "pg/postgres.hpp"

namespace attribution::pg {

/// The relation that a foreign key on column `column` of `child` references and that has a trigger
/// calling `trigger_function`: users may add foreign keys of their own, on both sides. Raises 42P16
/// when there is none.
Oid referenced_relation(Relation child, const char* column, Oid trigger_function);

/// The relation that references `parent` through a foreign key on its column `column` and that has
/// a trigger calling `trigger_function`; InvalidOid when there is none.
Oid referencing_relation(Relation parent, const char* column, Oid trigger_function);

/// A foreign key: from columns of one relation to columns of `parent`.
struct ForeignKey {
    std::span<const char* const> columns;
    Oid parent;
    std::span<const char* const> referenced_columns;
};

/// True when all that an INSERT into `child` can run is the extension's own or PostgreSQL's: no
/// rule, only triggers of this extension that fire always or on replicas and the checks of these
/// foreign keys, and no default, generated column, CHECK, policy, index, column type or partition
/// key that calls anything else.
bool inserts_run_nothing_foreign(Relation child, std::span<const ForeignKey> keys);

namespace detail {
void insert_without_key_checks(Relation child, std::span<const ForeignKey> keys,
                               void (*insert)(bool is_unchecked, void* state), void* state);
}

/// Calls insert(is_unchecked), which inserts into `child` rows whose parents in `keys` are locked
/// by the caller or null. The keys are not checked, and `is_unchecked` is true, where the INSERT
/// runs nothing foreign (inserts_run_nothing_foreign); elsewhere the INSERT is an ordinary one.
template <class Insert>
void insert_without_key_checks(Relation child, std::span<const ForeignKey> keys, Insert&& insert) {
    static_assert(std::is_trivially_destructible_v<std::remove_reference_t<Insert>>,
                  "an error jumps over the closure: capture by reference");
    detail::insert_without_key_checks(
        child, keys,
        [](bool is_unchecked, void* state) {
            (*static_cast<std::remove_reference_t<Insert>*>(state))(is_unchecked);
        },
        const_cast<void*>(static_cast<const void*>(&insert)));
}

} // namespace attribution::pg
