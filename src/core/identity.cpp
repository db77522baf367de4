#include "core/identity.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

namespace attribution::core {
namespace {

// 16 letters each: the keys are public, they only keep the two uses apart.
constexpr std::string_view tie_hash_key = "attribution.tie1";
constexpr std::string_view event_hash_key = "attribution.evt1";

/// Eight bytes as a little-endian word.
std::uint64_t load(const void* bytes) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes, sizeof word);
    if constexpr (std::endian::native == std::endian::big)
        word = __builtin_bswap64(word);
    return word;
}

// Inlined by order: g++ else calls them with the state in memory, which takes twice the time.
template <int count>
[[gnu::always_inline]] inline void rounds(std::array<std::uint64_t, 4>& v) {
    for (int i = 0; i < count; ++i) {
        v[0] += v[1];
        v[1] = std::rotl(v[1], 13) ^ v[0];
        v[0] = std::rotl(v[0], 32);
        v[2] += v[3];
        v[3] = std::rotl(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = std::rotl(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = std::rotl(v[1], 17) ^ v[2];
        v[2] = std::rotl(v[2], 32);
    }
}

[[gnu::always_inline]] inline void compress(std::array<std::uint64_t, 4>& v, std::uint64_t word) {
    v[3] ^= word;
    rounds<2>(v);
    v[0] ^= word;
}

std::span<const std::uint8_t, 16> key_bytes(std::string_view key) {
    return std::span<const std::uint8_t, 16>(reinterpret_cast<const std::uint8_t*>(key.data()), 16);
}

std::string_view bytes_of(const Uuid& uuid) {
    return {reinterpret_cast<const char*>(uuid.data()), uuid.size()};
}

/// Writes `word` big endian from `offset` on.
void put_big_endian(Uuid& uuid, std::size_t offset, std::uint64_t word) {
    if constexpr (std::endian::native == std::endian::little)
        word = __builtin_bswap64(word);
    std::memcpy(uuid.data() + offset, &word, sizeof word);
}

void set_version(Uuid& uuid, std::uint8_t version) {
    uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0fU) | (unsigned{version} << 4U));
    uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3fU) | 0x80U);
}

constexpr std::int64_t latest_ms = (std::int64_t{1} << 48) - 1;

/// The layout that versions 7 and 8 share here: 48 bits of time, 12 bits, 62 bits.
Uuid time_ordered_uuid(std::int64_t unix_ms, std::uint64_t bits12, std::uint64_t bits62,
                       std::uint8_t version) {
    Uuid uuid{};
    const auto ms = static_cast<std::uint64_t>(std::clamp(unix_ms, std::int64_t{0}, latest_ms));
    put_big_endian(uuid, 0, ms << 16U | (bits12 & 0xfffU));
    put_big_endian(uuid, 8, bits62);
    set_version(uuid, version);
    return uuid;
}

/// The value of a hexadecimal digit; nothing for another character.
std::optional<std::uint8_t> hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return static_cast<std::uint8_t>(c - '0');
    const char lower = static_cast<char>(c | 0x20);
    if (lower >= 'a' && lower <= 'f')
        return static_cast<std::uint8_t>(lower - 'a' + 10);
    return std::nullopt;
}

} // namespace

std::optional<Uuid> parse_uuid(std::string_view text) noexcept {
    if (text.size() >= 2 && text.front() == '{' && text.back() == '}')
        text = text.substr(1, text.size() - 2);
    Uuid uuid{};
    for (std::size_t i = 0; i < uuid.size(); ++i) {
        if (i > 0 && i % 2 == 0 && !text.empty() && text.front() == '-')
            text.remove_prefix(1);
        if (text.size() < 2)
            return std::nullopt;
        const std::optional<std::uint8_t> high = hex_digit(text[0]), low = hex_digit(text[1]);
        if (!high || !low)
            return std::nullopt;
        uuid[i] = static_cast<std::uint8_t>(*high << 4U | *low);
        text.remove_prefix(2);
    }
    return text.empty() ? std::optional(uuid) : std::nullopt;
}

SipHash::SipHash(std::span<const std::uint8_t, 16> key) {
    const std::uint64_t k0 = load(key.data());
    const std::uint64_t k1 = load(key.data() + 8);
    state_ = {k0 ^ 0x736f6d6570736575U,
              k1 ^ 0x646f72616e646f6dU ^ 0xeeU, // 0xee selects the 128-bit variant
              k0 ^ 0x6c7967656e657261U, k1 ^ 0x7465646279746573U};
}

void SipHash::absorb(std::string_view bytes) {
    // A copy, which stays in registers: bytes may be anywhere in memory, in *this for all that the
    // compiler knows.
    std::array<std::uint64_t, 4> state = state_;
    std::uint64_t word = word_;
    const unsigned filled = length_ % 8 * 8; // bits of `word` that are taken
    length_ += bytes.size();
    for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
        const std::uint64_t next = load(bytes.data());
        compress(state, word | next << filled);
        word = filled == 0 ? 0 : next >> (64 - filled);
    }
    unsigned shift = filled;
    for (const char byte : bytes) {
        word |= std::uint64_t{static_cast<std::uint8_t>(byte)} << shift;
        shift += 8;
        if (shift == 64) {
            compress(state, word);
            word = 0;
            shift = 0;
        }
    }
    state_ = state;
    word_ = word;
}

Hash128 SipHash::finish() const {
    std::array<std::uint64_t, 4> state = state_;
    compress(state, word_ | std::uint64_t{length_ & 0xffU} << 56);
    state[2] ^= 0xeeU;
    rounds<4>(state);
    const std::uint64_t first = state[0] ^ state[1] ^ state[2] ^ state[3];
    state[1] ^= 0xddU;
    rounds<4>(state);
    return {{first, state[0] ^ state[1] ^ state[2] ^ state[3]}};
}

Hash128 siphash128(std::span<const std::uint8_t, 16> key, std::span<const std::string_view> parts) {
    SipHash hash(key);
    for (const std::string_view part : parts)
        hash.absorb(part);
    return hash.finish();
}

AllocationIdentifier::AllocationIdentifier(const Uuid& tenant_id, const Uuid& event_id,
                                           std::string_view model_version,
                                           std::int64_t occurred_at_ms)
    : prefix_(key_bytes(tie_hash_key)), occurred_at_ms_(occurred_at_ms) {
    const auto length = static_cast<std::uint32_t>(model_version.size());
    const std::array<char, 4> length_bytes = {
        static_cast<char>(length & 0xffU), static_cast<char>(length >> 8U & 0xffU),
        static_cast<char>(length >> 16U & 0xffU), static_cast<char>(length >> 24U & 0xffU)};
    prefix_.absorb(bytes_of(tenant_id));
    prefix_.absorb(bytes_of(event_id));
    prefix_.absorb({length_bytes.data(), length_bytes.size()});
    prefix_.absorb(model_version);
}

AllocationIdentity AllocationIdentifier::of(std::string_view channel) const {
    SipHash whole = prefix_;
    whole.absorb(channel);
    const Hash128 hash = whole.finish();
    return {hash.words[0], time_ordered_uuid(occurred_at_ms_, hash.words[0], hash.words[1], 8)};
}

AllocationIdentity identify_allocation(const AllocationKey& key, std::int64_t occurred_at_ms) {
    return AllocationIdentifier(key.tenant_id, key.event_id, key.model_version, occurred_at_ms)
        .of(key.channel);
}

Uuid keyed_event_id(const Uuid& tenant_id, BusinessKeyKind kind, std::string_view business_key) {
    const char kind_byte = static_cast<char>(kind);
    const std::array<std::string_view, 3> parts = {
        bytes_of(tenant_id), {&kind_byte, 1}, business_key};
    const Hash128 hash = siphash128(key_bytes(event_hash_key), parts);
    Uuid uuid{};
    for (std::size_t i = 0; i < 16; ++i)
        uuid[i] = static_cast<std::uint8_t>(hash.words[i / 8] >> (8 * (i % 8)) & 0xffU);
    set_version(uuid, 8);
    return uuid;
}

Uuid uuid_v7(std::int64_t unix_us, std::uint64_t random_bits) {
    const std::int64_t us = std::clamp(unix_us, std::int64_t{0}, latest_ms * 1000 + 999);
    // 4096 steps in the millisecond; integer division keeps the order of microseconds.
    const auto fraction = static_cast<std::uint64_t>(us % 1000 * 4096 / 1000);
    return time_ordered_uuid(us / 1000, fraction, random_bits, 7);
}

} // namespace attribution::core
