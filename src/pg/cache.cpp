#include "pg/cache.hpp"

namespace attribution::pg {
namespace {

constinit Cached* all_cached = nullptr;
constinit uint64 invalidation_count = 0;

} // namespace

/// The callback: `relation` changed, or any relation may have when it is InvalidOid.
extern "C" void relation_changed_callback(Datum, Oid relation);

void invalidate_relation(Oid relation) {
    ++invalidation_count;
    for (Cached* cached = all_cached; cached != nullptr; cached = cached->next_)
        for (std::size_t i = 0; i < cached->relation_count_; ++i)
            if (relation == InvalidOid || cached->relations_[i] == relation)
                cached->is_valid_ = false;
}

extern "C" void relation_changed_callback(Datum, Oid relation) {
    invalidate_relation(relation);
}

void Cached::begin() {
    if (!is_listed_) {
        next_ = all_cached;
        all_cached = this;
        is_listed_ = true;
    }
    relation_count_ = 0;
    begun_at_ = invalidation_count;
}

void Cached::end() {
    // An invalidation of any relation counts: the look-up may have named that relation only after
    // the invalidation came.
    is_valid_ = invalidation_count == begun_at_;
}

void Cached::depend_on(Oid relation) {
    Assert(OidIsValid(relation));
    if (relation_count_ == max_relations)
        elog(ERROR, "a look-up depends on more than %zu relations", max_relations);
    relations_[relation_count_++] = relation;
}

void watch_relations() {
    CacheRegisterRelcacheCallback(relation_changed_callback, Datum{0});
}

} // namespace attribution::pg
