// Names that are computed, not drawn: tie keys, allocation ids and ids of keyed events.
//
// The one idea: SipHash-2-4 with 128 bits of output (J.-P. Aumasson, D. J. Bernstein, "SipHash: a
// fast short-input PRF", 2012) under fixed published keys. The same allocation has the same id and
// wins or loses the same tie on every machine, so a repeated call is the same row.
//
// These functions are part of the contract: stored ids and past cents depend on them. Their test
// vectors (test/unit/identity_test.cpp, test/sql/identity.sql) never change.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace attribution::core {

using Uuid = std::array<std::uint8_t, 16>; // network byte order, as PostgreSQL stores it

/// The UUID that a text is for PostgreSQL: 32 hexadecimal digits, a hyphen allowed after each four
/// of them, in braces or not.
std::optional<Uuid> parse_uuid(std::string_view text) noexcept;

/// SipHash-2-4-128: `words[0]` is the first eight output bytes read as a little-endian integer,
/// `words[1]` the last eight.
struct Hash128 {
    std::array<std::uint64_t, 2> words;
};

/// SipHash-2-4-128 as a stream, which can be copied: what many messages begin with is absorbed
/// once.
class SipHash {
public:
    explicit SipHash(std::span<const std::uint8_t, 16> key);

    void absorb(std::string_view bytes);
    [[nodiscard]] Hash128 finish() const;

private:
    std::array<std::uint64_t, 4> state_{};
    std::uint64_t word_ = 0; // the bytes that do not fill a word yet, the first one lowest
    std::size_t length_ = 0;
};

/// SipHash-2-4-128 of the concatenation of `parts` under the 16-byte `key`.
Hash128 siphash128(std::span<const std::uint8_t, 16> key, std::span<const std::string_view> parts);

/// What identifies one allocation: tenant, event, model version, channel.
struct AllocationKey {
    Uuid tenant_id;
    Uuid event_id;
    std::string_view model_version; // UTF-8 or whatever the server encoding is: bytes decide
    std::string_view channel;
};

struct AllocationIdentity {
    std::uint64_t tie_key; // the smaller key wins the cent
    Uuid id;               // UUID version 8 (RFC 9562): 48 bits of event time, then hash bits
};

/// H = siphash128(key "attribution.tie1", tenant_id || event_id || length of model_version as 4
/// bytes little endian || model_version || channel).
/// tie_key = H.words[0]. id = the event's milliseconds since 1970 in the first 48 bits (clamped to
/// 0 .. 2^48-1), version 8, the low 12 bits of H.words[0], variant 10, the low 62 bits of
/// H.words[1]; all big endian.
AllocationIdentity identify_allocation(const AllocationKey& key, std::int64_t occurred_at_ms);

/// The same for every channel of one event, whose part of the key is hashed once. The arguments are
/// not kept.
class AllocationIdentifier {
public:
    AllocationIdentifier(const Uuid& tenant_id, const Uuid& event_id,
                         std::string_view model_version, std::int64_t occurred_at_ms);

    [[nodiscard]] AllocationIdentity of(std::string_view channel) const;

private:
    SipHash prefix_;
    std::int64_t occurred_at_ms_;
};

enum class BusinessKeyKind : char {
    external_event_id = 'e',
    correlation_id = 'c',
};

/// The id of an event that has a business key: the 16 output bytes of
/// siphash128(key "attribution.evt1", tenant_id || kind as one byte || business_key) with version 8
/// and variant 10 written over their bits. No time: deliveries of one order under several
/// topics carry different times and are one event.
Uuid keyed_event_id(const Uuid& tenant_id, BusinessKeyKind kind, std::string_view business_key);

/// A time-ordered UUID, version 7 (RFC 9562): milliseconds, then the fraction of the millisecond
/// in 12 bits (method 3 of section 6.2), then 62 random bits. Microseconds before 1970 or past
/// 2^48 milliseconds are taken as the nearest time inside.
Uuid uuid_v7(std::int64_t unix_us, std::uint64_t random_bits);

} // namespace attribution::core
