// What a backend has looked up about relations, and how it learns that this may have changed.
//
// The one idea: PostgreSQL gives a backend ten places for callbacks that hear of changed relations,
// and other extensions want some too. So the module has one callback for all that it has looked up,
// and all of it follows one protocol:
//
//     look-up        names the relations that it depends on
//     invalidation   of any of them, or of everything: what was looked up is not valid any more
//     next use       looks it up anew
//
// An invalidation that arrives during a look-up is never lost: PostgreSQL processes invalidations
// whenever a lock is taken, so while a look-up opens a relation, what it read before may become
// outdated. Such a look-up is repeated, a few times; a result that was invalidated each time stays
// invalid, so the next use looks it up again.
#pragma once

#include <array>
#include <cstddef>

#include "pg/postgres.hpp"

namespace attribution::pg {

/// The validity of something that was looked up. Make it part of what it guards, in memory that
/// lives as long as the backend and does not move: a static variable, or an entry of a hash table
/// in CacheMemoryContext.
class Cached {
public:
    constexpr Cached() = default;
    Cached(const Cached&) = delete;
    Cached& operator=(const Cached&) = delete;

    /// True while nothing was invalidated that the last look-up depends on.
    [[nodiscard]] bool is_valid() const { return is_valid_; }

    /// Calls look_up(), which fills in what is guarded and names what it depends on, unless that is
    /// valid. An error in the look-up leaves it invalid.
    template <class LookUp>
    void ensure(LookUp look_up) {
        for (int attempt = 0; !is_valid_ && attempt < max_attempts; ++attempt) {
            begin();
            look_up();
            end();
        }
    }

    /// Says, inside a look-up, that it depends on the relation.
    void depend_on(Oid relation);

    /// Makes the next use look up again.
    void invalidate() { is_valid_ = false; }

private:
    friend void invalidate_relation(Oid relation);

    // A result that was invalidated during each of so many look-ups is used once, and stays
    // invalid.
    static constexpr int max_attempts = 3;
    static constexpr std::size_t max_relations = 64;

    void begin();
    void end();

    Cached* next_ = nullptr; // in the list of all
    bool is_listed_ = false;
    bool is_valid_ = false;
    std::array<Oid, max_relations> relations_{};
    std::size_t relation_count_ = 0;
    uint64 begun_at_ = 0; // the number of invalidations when the look-up began
};

/// Registers the module's one callback for changed relations. Called when the module is loaded.
void watch_relations();

} // namespace attribution::pg
