// Freezes what core/identity.hpp computes: stored ids and past cents depend on these numbers.
//
// The one idea: the numbers come from elsewhere. The hash is held against the vectors its authors
// published; tie keys and ids against values from a separate implementation, written from the
// paper. A failure here means that the code is wrong, never that a number is out of date.
#include "core/identity.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "core/apportion.hpp"
#include "random.hpp"

namespace attribution::core {
namespace {

using namespace std::string_view_literals;

constexpr std::int64_t latest_ms = (std::int64_t{1} << 48) - 1;

// --- texts to bytes and back ---------------------------------------------------------------------

std::uint8_t hex_digit(char digit) {
    return static_cast<std::uint8_t>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

/// "018f4df7-3e00-8..." or the same without dashes.
Uuid uuid(std::string_view text) {
    std::string digits(text);
    std::erase(digits, '-');
    Uuid bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i)
        bytes[i] =
            static_cast<std::uint8_t>(hex_digit(digits[2 * i]) * 16 + hex_digit(digits[2 * i + 1]));
    return bytes;
}

std::string text(const Uuid& bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string result;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            result += '-';
        result += digits[bytes[i] / 16];
        result += digits[bytes[i] % 16];
    }
    return result;
}

/// The 16 bytes that the two words stand for.
Uuid output(const Hash128& hash) {
    Uuid bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = static_cast<std::uint8_t>(hash.words[i / 8] >> (8 * (i % 8)) & 0xff);
    return bytes;
}

std::uint64_t big_endian(const Uuid& bytes, std::size_t first, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = first; i < first + count; ++i)
        value = value * 256 + bytes[i];
    return value;
}

int version(const Uuid& bytes) {
    return bytes[6] >> 4;
}

int variant(const Uuid& bytes) {
    return bytes[8] >> 6;
}

// --- SipHash-2-4-128 -----------------------------------------------------------------------------

/// J.-P. Aumasson, D. J. Bernstein, reference code, vectors.h (vectors_sip128): the key is the
/// bytes 0 .. 15, the message of row i the bytes 0 .. i - 1.
constexpr std::array<std::string_view, 64> published = {
    "a3817f04ba25a8e66df67214c7550293", "da87c1d86b99af44347659119b22fc45",
    "8177228da4a45dc7fca38bdef60affe4", "9c70b60c5267a94e5f33b6b02985ed51",
    "f88164c12d9c8faf7d0f6e7c7bcd5579", "1368875980776f8854527a07690e9627",
    "14eeca338b208613485ea0308fd7a15e", "a1f1ebbed8dbc153c0b84aa61ff08239",
    "3b62a9ba6258f5610f83e264f31497b4", "264499060ad9baabc47f8b02bb6d71ed",
    "00110dc378146956c95447d3f3d0fbba", "0151c568386b6677a2b4dc6f81e5dc18",
    "d626b266905ef35882634df68532c125", "9869e247e9c08b10d029934fc4b952f7",
    "31fcefac66d7de9c7ec7485fe4494902", "5493e99933b0a8117e08ec0f97cfc3d9",
    "6ee2a4ca67b054bbfd3315bf85230577", "473d06e8738db89854c066c47ae47740",
    "a426e5e423bf4885294da481feaef723", "78017731cf65fab074d5208952512eb1",
    "9e25fc833f2290733e9344a5e83839eb", "568e495abe525a218a2214cd3e071d12",
    "4a29b54552d16b9a469c10528eff0aae", "c9d184ddd5a9f5e0cf8ce29a9abf691c",
    "2db479ae78bd50d8882a8a178a6132ad", "8ece5f042d5e447b5051b9eacb8d8f6f",
    "9c0b53b4b3c307e87eaee08678141f66", "abf248af69a6eae4bfd3eb2f129eeb94",
    "0664da1668574b88b935f3027358aef4", "aa4b9dc4bf337de90cd4fd3c467c6ab7",
    "ea5c7f471faf6bde2b1ad7d4686d2287", "2939b0183223fafc1723de4f52c43d35",
    "7c3956ca5eeafc3e363e9d556546eb68", "77c6077146f01c32b6b69d5f4ea9ffcf",
    "37a6986cb8847edf0925f0f1309b54de", "a705f0e69da9a8f907241a2e923c8cc8",
    "3dc47d1f29c448461e9e76ed904f6711", "0d62bf01e6fc0e1a0d3c4751c5d3692b",
    "8c03468bca7c669ee4fd5e084bbee7b5", "528a5bb93baf2c9c4473cce5d0d22bd9",
    "df6a301e95c95dad97ae0cc8c6913bd8", "801189902c857f39e73591285e70b6db",
    "e617346ac9c231bb3650ae34ccca0c5b", "27d93437efb721aa401821dcec5adf89",
    "89237d9ded9c5e78d8b1c9b166cc7342", "4a6d8091bf5e7d651189fa94a250b14c",
    "0e33f96055e7ae893ffc0e3dcf492902", "e61c432b720b19d18ec8d84bdc63151b",
    "f7e5aef549f782cf379055a608269b16", "438d030fd0b7a54fa837f2ad201a6403",
    "a590d3ee4fbf04e3247e0d27f286423f", "5fe2c1a172fe93c4b15cd37caef9f538",
    "2c97325cbd06b36eb2133dd08b3a017c", "92c814227a6bca949ff0659f002ad39e",
    "dce850110bd8328cfbd50841d6911d87", "67f14984c7da791248e32bb5922583da",
    "1938f2cf72d54ee97e94166fa91d2a36", "74481e9646ed49fe0f6224301604698e",
    "57fca5de98a9d6d8006438d0583d8a1d", "9fecde1cefdc1cbed4763674d9575359",
    "e3040c00eb28f15366ca73cbd872e740", "7697009a6a831dfecca91c5993670f7a",
    "5853542321f567a005d547a4f04759bd", "5150d1772f50834a503e069a973fbd7c",
};

constexpr std::array<std::uint8_t, 16> published_key = {0, 1, 2,  3,  4,  5,  6,  7,
                                                        8, 9, 10, 11, 12, 13, 14, 15};

std::string counting_bytes(std::size_t count) {
    std::string bytes;
    for (std::size_t i = 0; i < count; ++i)
        bytes += static_cast<char>(i);
    return bytes;
}

TEST(SipHash, GivesThePublishedVectors) {
    for (std::size_t i = 0; i < published.size(); ++i) {
        const std::string message = counting_bytes(i);
        const std::array<std::string_view, 1> parts = {message};
        EXPECT_EQ(text(output(siphash128(published_key, parts))), text(uuid(published[i])))
            << "message of " << i << " bytes";
    }
}

TEST(SipHash, HashesTheConcatenationWhereverItIsCut) {
    EXPECT_EQ(output(siphash128(published_key, {})), uuid(published[0]));
    for (std::size_t size = 0; size < published.size(); ++size) {
        const std::string message = counting_bytes(size);
        const std::string_view view = message;
        for (std::size_t cut = 0; cut <= size; ++cut) {
            const std::array<std::string_view, 3> parts = {view.substr(0, cut), ""sv,
                                                           view.substr(cut)};
            ASSERT_EQ(output(siphash128(published_key, parts)), uuid(published[size]))
                << size << " bytes cut at " << cut;
        }
    }
    const std::string longest = counting_bytes(63);
    for (std::size_t first = 0; first <= 63; ++first)
        for (std::size_t second = first; second <= 63; ++second) {
            const std::string_view view = longest;
            const std::array<std::string_view, 3> parts = {
                view.substr(0, first), view.substr(first, second - first), view.substr(second)};
            ASSERT_EQ(output(siphash128(published_key, parts)), uuid(published[63]))
                << "cut at " << first << " and " << second;
        }
    std::vector<std::string_view> bytes;
    const std::string message = counting_bytes(63);
    for (std::size_t i = 0; i < message.size(); ++i)
        bytes.push_back(std::string_view(message).substr(i, 1));
    EXPECT_EQ(output(siphash128(published_key, bytes)), uuid(published[63]));
}

// --- allocations ---------------------------------------------------------------------------------

constexpr std::string_view shop = "6a1f0c52-9d3e-4b7a-8f21-5c0de4a7b910";
constexpr std::string_view sale = "018f3a5e-7c00-7abc-9def-0123456789ab";
constexpr std::string_view keyed_sale = "d2b4c6a8-1357-8f0e-a1b2-c3d4e5f60718";
constexpr std::string_view zeros = "00000000-0000-0000-0000-000000000000";
constexpr std::string_view ones = "ffffffff-ffff-ffff-ffff-ffffffffffff";

struct FrozenAllocation {
    std::string_view tenant_id;
    std::string_view event_id;
    std::string model_version;
    std::string channel;
    std::int64_t occurred_at_ms;
    std::uint64_t tie_key;
    std::string_view id;
};

const std::vector<FrozenAllocation>& frozen_allocations() {
    static const std::vector<FrozenAllocation> rows = {
        {shop, sale, "1.0.0", "email", 1715000000000, 0x98a8cca1dc9a00d7,
         "018f4df7-3e00-80d7-98e9-36fd0c842a08"},
        {shop, sale, "1.0.0", "paid_search", 1715000000000, 0xbbec65cae223ae17,
         "018f4df7-3e00-8e17-97d7-9fa938d5c547"},
        {shop, sale, "1.0.0", "direct", 1715000000000, 0xdcc995202a695850,
         "018f4df7-3e00-8850-be40-5d3f8ba67088"},
        {shop, sale, "1.0.1", "email", 1715000000000, 0x6b593432086c6a36,
         "018f4df7-3e00-8a36-a576-28cd93fa89c5"},
        {shop, keyed_sale, "1.0.0", "email", 1715000000000, 0xc79e13d80ca8d0a8,
         "018f4df7-3e00-80a8-bca2-39642e2ec3d2"},
        {zeros, sale, "1.0.0", "email", 1715000000000, 0x66eae5527ab86389,
         "018f4df7-3e00-8389-95e5-f3bbb6fa005a"},
        {zeros, zeros, "", "", 0, 0x43474d1d9782e6f0, "00000000-0000-86f0-9ae0-e68ef47ba65c"},
        {ones, ones, "linear-2024", "unattributed", latest_ms, 0xbbe1e005096fc5cc,
         "ffffffff-ffff-85cc-aaf8-043c457d22e6"},
        // UTF-8: modèle-β and four CJK characters
        {shop, keyed_sale, "mod\xc3\xa8le-\xce\xb2",
         "\xe7\x9b\xb8\xe4\xba\x92\xe7\xb4\xb9\xe4\xbb\x8b", 1000, 0x9166e60d1be56d79,
         "00000000-03e8-8d79-ad15-1ce28a02c4be"},
        // The same bytes cut in another place
        {shop, keyed_sale, "ab", "c", 951782400123, 0x049cde72a39851e8,
         "00dd9aa6-e07b-81e8-8cfe-db6ac98d45c1"},
        {shop, keyed_sale, "a", "bc", 951782400123, 0x6212919da02f26a8,
         "00dd9aa6-e07b-86a8-8662-30c010c2a694"},
        // A length that needs two of its four bytes
        {shop, keyed_sale, std::string(300, 'm'), std::string(200, 'c'), 951782400123,
         0x910ce3e51b1f1744, "00dd9aa6-e07b-8744-b4c9-7ba632d436b6"},
    };
    return rows;
}

AllocationIdentity identity(const FrozenAllocation& row, std::int64_t occurred_at_ms) {
    return identify_allocation(
        {uuid(row.tenant_id), uuid(row.event_id), row.model_version, row.channel}, occurred_at_ms);
}

TEST(AllocationIdentity, NeverChanges) {
    for (const FrozenAllocation& row : frozen_allocations()) {
        const AllocationIdentity found = identity(row, row.occurred_at_ms);
        EXPECT_EQ(found.tie_key, row.tie_key) << row.model_version << ' ' << row.channel;
        EXPECT_EQ(text(found.id), row.id) << row.model_version << ' ' << row.channel;
    }
}

TEST(AllocationIdentity, IsTheSameWhenTheEventIsHashedOnce) {
    for (const FrozenAllocation& row : frozen_allocations()) {
        const AllocationIdentifier identifier(uuid(row.tenant_id), uuid(row.event_id),
                                              row.model_version, row.occurred_at_ms);
        // In any order, with others before and between: nothing is kept from channel to channel.
        for (int again = 0; again < 2; ++again) {
            EXPECT_EQ(identifier.of(row.channel).tie_key, row.tie_key) << row.channel;
            EXPECT_EQ(text(identifier.of(row.channel).id), row.id) << row.channel;
            EXPECT_NE(identifier.of(row.channel + "x").tie_key, row.tie_key);
        }
        for (std::size_t size = 0; size < 20; ++size) {
            const std::string channel(size, 'x');
            EXPECT_EQ(identifier.of(channel).id,
                      identify_allocation(
                          {uuid(row.tenant_id), uuid(row.event_id), row.model_version, channel},
                          row.occurred_at_ms)
                          .id);
        }
    }
}

TEST(AllocationIdentity, EveryPartOfTheKeyCounts) {
    std::set<std::uint64_t> keys;
    for (const FrozenAllocation& row : frozen_allocations())
        keys.insert(identity(row, 0).tie_key);
    EXPECT_EQ(keys.size(), frozen_allocations().size());

    const Uuid tenant = uuid(shop);
    const Uuid event = uuid(sale);
    const auto key = [&](std::string_view model, std::string_view channel) {
        return identify_allocation({tenant, event, model, channel}, 0).tie_key;
    };
    EXPECT_NE(key("ab", "c"), key("a", "bc"));
    EXPECT_NE(key("abc", ""), key("", "abc"));
    EXPECT_NE(key("a", "b"), key("b", "a"));
    EXPECT_NE(key("a", "b\0"sv), key("a", "b"));
    EXPECT_NE(identify_allocation({tenant, event, "a", "b"}, 0).tie_key,
              identify_allocation({event, tenant, "a", "b"}, 0).tie_key);
}

TEST(AllocationIdentity, IdIsTimeThenHash) {
    for (const FrozenAllocation& row : frozen_allocations()) {
        const AllocationIdentity found = identity(row, 0x0123456789ab);
        EXPECT_EQ(big_endian(found.id, 0, 6), 0x0123456789abU);
        EXPECT_EQ(version(found.id), 8);
        EXPECT_EQ(variant(found.id), 0b10);
        EXPECT_EQ(big_endian(found.id, 6, 2) & 0xfff, found.tie_key & 0xfff);
        EXPECT_EQ(found.tie_key, row.tie_key) << "the tie does not depend on the time";

        const AllocationIdentity later = identity(row, 0x0123456789ac);
        EXPECT_LT(found.id, later.id);
        EXPECT_TRUE(std::equal(found.id.begin() + 6, found.id.end(), later.id.begin() + 6));
    }
}

TEST(AllocationIdentity, ClampsTheTime) {
    const FrozenAllocation& row = frozen_allocations().front();
    const auto time = [&](std::int64_t ms) { return big_endian(identity(row, ms).id, 0, 6); };
    EXPECT_EQ(time(0), 0U);
    EXPECT_EQ(time(1), 1U);
    EXPECT_EQ(time(-1), 0U);
    EXPECT_EQ(time(std::numeric_limits<std::int64_t>::min()), 0U);
    EXPECT_EQ(time(latest_ms), 0xffffffffffffU);
    EXPECT_EQ(time(latest_ms + 1), 0xffffffffffffU);
    EXPECT_EQ(time(std::numeric_limits<std::int64_t>::max()), 0xffffffffffffU);
    EXPECT_EQ(identity(row, -1).id, identity(row, 0).id);
}

// --- fairness ------------------------------------------------------------------------------------

/// How often each of three equal channels got the cent that its two rivals did not, or missed the
/// one that they got, in one set of events whose revenue leaves one or two cents over.
using Outcomes = std::array<std::uint64_t, 3>;

constexpr std::uint64_t events_per_set = 100'000;

/// The ids of a set are made as the extension makes them: time-ordered for most, from business keys
/// for the others.
Uuid event_id_of(std::uint64_t set, std::uint64_t number) {
    Random random(set * events_per_set + number);
    if (set % 2 == 0)
        return uuid_v7(static_cast<std::int64_t>(1'750'000'000'000'000 + number * 60'000'000),
                       set == 0 ? number : random.bits()); // ids that differ as little as they can
    return keyed_event_id(uuid(shop), BusinessKeyKind::external_event_id,
                          "shopify:order:" + std::to_string(set * events_per_set + number));
}

Outcomes outcomes_of(std::uint64_t set, bool by_position) {
    constexpr std::array<std::string_view, 3> channels = {"email", "organic", "paid_search"};
    constexpr std::array<std::uint64_t, 3> equal = {1, 1, 1};
    Outcomes outcomes{};
    for (std::uint64_t number = 0; number < events_per_set; ++number) {
        const AllocationIdentifier identifier(uuid(shop), event_id_of(set, number), "1.0.0", 0);
        std::array<std::uint64_t, 3> tie_keys{};
        for (std::size_t i = 0; i < channels.size(); ++i)
            tie_keys[i] = identifier.of(channels[i]).tie_key;
        const Cents each = static_cast<Cents>(1 + number % 5'000);
        const Cents over = static_cast<Cents>(1 + number % 2);
        std::array<Cents, 3> shares{};
        apportion(3 * each + over, equal, by_position ? std::span<const std::uint64_t>{} : tie_keys,
                  shares);
        // The one that differs from the other two: it won the only cent, or missed the second.
        const Cents odd = over == 1 ? each + 1 : each;
        for (std::size_t i = 0; i < shares.size(); ++i)
            outcomes[i] += shares[i] == odd ? 1 : 0;
    }
    return outcomes;
}

/// The probability that a fair draw is as uneven as this: Pearson's chi-squared, two degrees of
/// freedom.
double p_value(const Outcomes& outcomes) {
    constexpr double expected = static_cast<double>(events_per_set) / 3;
    double chi_squared = 0;
    for (const std::uint64_t count : outcomes) {
        const double beside = static_cast<double>(count) - expected;
        chi_squared += beside * beside / expected;
    }
    return std::exp(-chi_squared / 2);
}

TEST(Fairness, NoChannelIsFavouredByTheCentLeftOver) {
    for (std::uint64_t set = 0; set < 10; ++set) {
        const Outcomes outcomes = outcomes_of(set, false);
        ASSERT_EQ(outcomes[0] + outcomes[1] + outcomes[2], events_per_set);
        EXPECT_GT(p_value(outcomes), 1e-4)
            << "set " << set << ": " << outcomes[0] << ' ' << outcomes[1] << ' ' << outcomes[2];
    }
}

TEST(Fairness, TiesByPositionFavourTheFirst) {
    // The mistake that the test above is for: the first channel wins every single cent.
    EXPECT_EQ(outcomes_of(0, true), (Outcomes{50'000, 0, 50'000}));
    EXPECT_LT(p_value(outcomes_of(0, true)), 1e-4);
    // One cent in a hundred given on purpose is noticed as well.
    Outcomes skewed = outcomes_of(1, false);
    skewed[0] += 1'000;
    skewed[2] -= 1'000;
    EXPECT_LT(p_value(skewed), 1e-4);
}

// --- keyed events --------------------------------------------------------------------------------

constexpr auto external = BusinessKeyKind::external_event_id;
constexpr auto correlation = BusinessKeyKind::correlation_id;

TEST(KeyedEventId, NeverChanges) {
    const auto id = [](std::string_view tenant, BusinessKeyKind kind, std::string_view key) {
        return text(keyed_event_id(uuid(tenant), kind, key));
    };
    EXPECT_EQ(id(shop, external, "shopify:order:5678901234567890123"),
              "f2649b4a-10e1-8cb6-87c9-cb9bfd93304e");
    EXPECT_EQ(id(shop, correlation, "shopify:order:5678901234567890123"),
              "92956d41-a06e-80f9-8407-6cd865072df1");
    EXPECT_EQ(id(zeros, external, "shopify:order:5678901234567890123"),
              "fbb05aa2-f7d4-856f-b08e-8d205547252a");
    EXPECT_EQ(id(shop, correlation, "pi_3QxMadeUp0000000000001"),
              "b0b74a00-cc39-8078-8382-90663100107e");
    EXPECT_EQ(id(shop, external, "paypal:capture:7MA1234567890123X"),
              "1f401fc0-68e0-8098-b2bd-70c466f39363");
    EXPECT_EQ(id(shop, external, ""), "18e001b9-679a-8fb5-b444-fcbaa5925530");
}

TEST(KeyedEventId, DependsOnTenantKindAndKey) {
    const Uuid tenant = uuid(shop);
    EXPECT_NE(keyed_event_id(tenant, external, "x"), keyed_event_id(tenant, correlation, "x"));
    EXPECT_NE(keyed_event_id(tenant, external, "x"), keyed_event_id(uuid(ones), external, "x"));
    EXPECT_NE(keyed_event_id(tenant, external, "x"), keyed_event_id(tenant, external, "y"));
    // The kind is no letter of the key.
    EXPECT_NE(keyed_event_id(tenant, external, "cx"), keyed_event_id(tenant, correlation, "ex"));
}

TEST(KeyedEventId, IsVersion8) {
    const Uuid tenant = uuid(shop);
    for (int i = 0; i < 1000; ++i) {
        const Uuid id = keyed_event_id(tenant, external, "order:" + std::to_string(i));
        ASSERT_EQ(version(id), 8) << i;
        ASSERT_EQ(variant(id), 0b10) << i;
    }
}

// --- version 7 -----------------------------------------------------------------------------------

TEST(UuidV7, IsMillisecondsFractionThenRandomBits) {
    EXPECT_EQ(text(uuid_v7(0, 0)), "00000000-0000-7000-8000-000000000000");
    // RFC 9562, appendix A.6, with the fraction that 798 microseconds give.
    EXPECT_EQ(text(uuid_v7(1645557742000798, 0x18c4dc0c0c07398f)),
              "017f22e2-79b0-7cc4-98c4-dc0c0c07398f");
    EXPECT_EQ(text(uuid_v7(1645557742000000, 0)), "017f22e2-79b0-7000-8000-000000000000");
    EXPECT_EQ(text(uuid_v7(1645557742000500, 0)), "017f22e2-79b0-7800-8000-000000000000");
    EXPECT_EQ(text(uuid_v7(1645557742000999, 0)), "017f22e2-79b0-7ffb-8000-000000000000");
    // 62 random bits: the two above them are the variant's.
    EXPECT_EQ(text(uuid_v7(0, 0xffffffffffffffff)), "00000000-0000-7000-bfff-ffffffffffff");
    EXPECT_EQ(uuid_v7(0, 0xc000000000000001), uuid_v7(0, 1));
}

TEST(UuidV7, SortsByTheMicrosecond) {
    constexpr std::int64_t start = 1715000000000000 - 1500;
    for (std::int64_t us = start; us < start + 3000; ++us) {
        const Uuid earlier = uuid_v7(us, 0xffffffffffffffff);
        const Uuid later = uuid_v7(us + 1, 0);
        ASSERT_LT(earlier, later) << us;
        ASSERT_EQ(version(later), 7);
        ASSERT_EQ(variant(later), 0b10);
    }
}

TEST(UuidV7, ClampsTheTime) {
    EXPECT_EQ(uuid_v7(-1, 7), uuid_v7(0, 7));
    constexpr std::int64_t latest_us = ((std::int64_t{1} << 48) - 1) * 1000 + 999;
    EXPECT_EQ(uuid_v7(latest_us + 1, 7), uuid_v7(latest_us, 7));
}

TEST(ParseUuid, ReadsWhatPostgreSQLReads) {
    const Uuid uuid = {0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8,
                       0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11};
    for (const char* text :
         {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
          "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11",
          "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}"})
        EXPECT_EQ(parse_uuid(text), uuid) << text;
}

TEST(ParseUuid, RefusesTheRest) {
    for (const char* text :
         {"", "{}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111",
          "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
          "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-",
          "-a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11",
          "a0-eebc999c0b4ef8bb6d6bb9bd380a11", " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
          "{{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}}"})
        EXPECT_EQ(parse_uuid(text), std::nullopt) << text;
}

} // namespace
} // namespace attribution::core
