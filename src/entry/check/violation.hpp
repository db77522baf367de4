// Violations: what the rules find wrong, and what a user reads of it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "pg/postgres.hpp"

namespace attribution::entry {

/// In the order in which they are reported.
enum class Rule : std::uint8_t { sum, refunds, channels };
inline constexpr std::size_t rule_count = 3;

/// Something that breaks a rule. Amounts are cents, as text.
struct Violation {
    Rule rule;
    Oid relation; // that the constraint is on
    core::Uuid tenant_id;
    core::Uuid event_id;
    const char* model_version; // "" where the rule knows none
    const char* name;          // the channel, or the type of what was refunded, or nullptr
    const char* revenue;       // nullptr: the event is missing
    const char* amount;
    const char* difference; // nullptr where there is none
};

/// The violations of a transaction: of each rule how many, and the first one.
class Findings {
public:
    /// The texts of the violations that are stored are copied into `memory`.
    explicit Findings(MemoryContext memory) : memory_(memory) {}

    /// Adds what a rule found wrong under the latest snapshot. `own` is what it finds under the
    /// transaction's own snapshot, where that is another one: what is only in `latest` was made
    /// wrong by a concurrent transaction, and this one may succeed when it runs again.
    void add(std::span<const Violation> latest, std::span<const Violation> own);

    [[nodiscard]] bool empty() const;

    /// Raises the first violation, in the order of the rules; a violation that a concurrent
    /// transaction caused is raised only when there is no other. Returns when there is none.
    void raise_first() const;

private:
    struct First {
        Violation violation;
        long count;
    };
    using Firsts = std::array<First, rule_count>;

    void count(Firsts* firsts, const Violation& violation) const;

    MemoryContext memory_;
    Firsts own_{};        // wrong also for this transaction's snapshot: 23514
    Firsts concurrent_{}; // right for this transaction's snapshot: 40001
};

} // namespace attribution::entry
