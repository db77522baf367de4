#include "core/identity.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>

namespace attribution::core {
namespace {

// 16 letters each: the keys are public, they only keep the two uses apart.
constexpr std::string_view tie_hash_key = "attribution.tie1";
constexpr std::string_view event_hash_key = "attribution.evt1";

/// The streaming form of SipHash-2-4: bytes are gathered into little-endian 64-bit words.
class SipHash {
public:
    explicit SipHash(std::span<const std::uint8_t, 16> key) {
        const std::uint64_t k0 = little_endian(key.first<8>());
        const std::uint64_t k1 = little_endian(key.last<8>());
        v0_ = k0 ^ 0x736f6d6570736575U;
        v1_ = k1 ^ 0x646f72616e646f6dU ^ 0xeeU; // 0xee selects the 128-bit variant
        v2_ = k0 ^ 0x6c7967656e657261U;
        v3_ = k1 ^ 0x7465646279746573U;
    }

    void absorb(std::string_view bytes) {
        for (const char byte : bytes) {
            word_ |= std::uint64_t{static_cast<std::uint8_t>(byte)} << (8 * (length_ % 8));
            if (++length_ % 8 == 0) {
                compress(word_);
                word_ = 0;
            }
        }
    }

    Hash128 finish() {
        compress(word_ | std::uint64_t{length_ & 0xffU} << 56);
        v2_ ^= 0xeeU;
        rounds<4>();
        const std::uint64_t first = v0_ ^ v1_ ^ v2_ ^ v3_;
        v1_ ^= 0xddU;
        rounds<4>();
        return {{first, v0_ ^ v1_ ^ v2_ ^ v3_}};
    }

private:
    static std::uint64_t little_endian(std::span<const std::uint8_t, 8> bytes) {
        std::uint64_t word = 0;
        for (std::size_t i = 0; i < 8; ++i)
            word |= std::uint64_t{bytes[i]} << (8 * i);
        return word;
    }

    void compress(std::uint64_t word) {
        v3_ ^= word;
        rounds<2>();
        v0_ ^= word;
    }

    template <int count>
    void rounds() {
        for (int i = 0; i < count; ++i) {
            v0_ += v1_;
            v1_ = std::rotl(v1_, 13) ^ v0_;
            v0_ = std::rotl(v0_, 32);
            v2_ += v3_;
            v3_ = std::rotl(v3_, 16) ^ v2_;
            v0_ += v3_;
            v3_ = std::rotl(v3_, 21) ^ v0_;
            v2_ += v1_;
            v1_ = std::rotl(v1_, 17) ^ v2_;
            v2_ = std::rotl(v2_, 32);
        }
    }

    std::uint64_t v0_, v1_, v2_, v3_;
    std::uint64_t word_ = 0;
    std::size_t length_ = 0;
};

std::span<const std::uint8_t, 16> key_bytes(std::string_view key) {
    return std::span<const std::uint8_t, 16>(reinterpret_cast<const std::uint8_t*>(key.data()), 16);
}

std::string_view bytes_of(const Uuid& uuid) {
    return {reinterpret_cast<const char*>(uuid.data()), uuid.size()};
}

/// Writes the low `count` bytes of `word` big endian from `offset` on.
void put_big_endian(Uuid& uuid, std::size_t offset, std::size_t count, std::uint64_t word) {
    for (std::size_t i = count; i-- > 0; word >>= 8)
        uuid[offset + i] = static_cast<std::uint8_t>(word & 0xffU);
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
    put_big_endian(uuid, 0, 6,
                   static_cast<std::uint64_t>(std::clamp(unix_ms, std::int64_t{0}, latest_ms)));
    put_big_endian(uuid, 6, 2, bits12 & 0xfffU);
    put_big_endian(uuid, 8, 8, bits62);
    set_version(uuid, version);
    return uuid;
}

} // namespace

Hash128 siphash128(std::span<const std::uint8_t, 16> key, std::span<const std::string_view> parts) {
    SipHash hash(key);
    for (const std::string_view part : parts)
        hash.absorb(part);
    return hash.finish();
}

AllocationIdentity identify_allocation(const AllocationKey& key, std::int64_t occurred_at_ms) {
    const auto length = static_cast<std::uint32_t>(key.model_version.size());
    const std::array<char, 4> length_bytes = {
        static_cast<char>(length & 0xffU), static_cast<char>(length >> 8U & 0xffU),
        static_cast<char>(length >> 16U & 0xffU), static_cast<char>(length >> 24U & 0xffU)};
    const std::array<std::string_view, 5> parts = {bytes_of(key.tenant_id),
                                                   bytes_of(key.event_id),
                                                   {length_bytes.data(), length_bytes.size()},
                                                   key.model_version,
                                                   key.channel};
    const Hash128 hash = siphash128(key_bytes(tie_hash_key), parts);
    return {hash.words[0], time_ordered_uuid(occurred_at_ms, hash.words[0], hash.words[1], 8)};
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
