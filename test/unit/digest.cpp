// Prints a digest of what the core computes from generated input, one line per subject, for
// test/suites/determinism.sh: whatever compiler and optimization level made this program, the bytes
// must be the same. With --list SUBJECT it prints the values themselves, to find the first that
// differs.
//
// Own generator, no floating point, no hash table, no clock, and one draw a statement, since
// compilers differ in the order of arguments: only the core is on trial.
#include <array>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/apportion.hpp"
#include "core/identity.hpp"
#include "core/model.hpp"
#include "core/refund.hpp"
#include "random.hpp"

namespace {

using namespace attribution;
using namespace attribution::core;

/// FNV-1a (G. Fowler, L. C. Noll, K.-P. Vo) with 64 bits over the bytes of every value, low ones
/// first.
class Digest {
public:
    Digest(std::string_view subject, bool list) : subject_(subject), list_(list) {}
    Digest(const Digest&) = delete;
    Digest& operator=(const Digest&) = delete;
    ~Digest() {
        if (!list_)
            std::printf("%.*s %llu %016llx\n", static_cast<int>(subject_.size()), subject_.data(),
                        static_cast<unsigned long long>(count_),
                        static_cast<unsigned long long>(state_));
    }

    void take(std::uint64_t value) {
        if (list_)
            std::printf("%llu\n", static_cast<unsigned long long>(value));
        ++count_;
        for (int i = 0; i < 8; ++i) {
            state_ = (state_ ^ (value >> (8 * i) & 0xff)) * 0x100000001b3;
        }
    }
    void take(std::span<const Cents> shares) {
        for (const Cents share : shares)
            take(static_cast<std::uint64_t>(share));
    }
    void take(const Uuid& uuid) {
        for (std::size_t i = 0; i < 16; i += 8) {
            std::uint64_t word = 0;
            for (std::size_t j = 0; j < 8; ++j)
                word = word << 8 | uuid[i + j];
            take(word);
        }
    }

private:
    std::string_view subject_;
    bool list_;
    std::uint64_t state_ = 0xcbf29ce484222325;
    std::uint64_t count_ = 0;
};

Cents random_total(Random& random) {
    const std::uint64_t magnitude = random.any_width();
    return static_cast<Cents>(random.one_in(3) ? 0 - magnitude : magnitude);
}

std::vector<std::uint64_t> random_keys(Random& random, std::size_t count) {
    std::vector<std::uint64_t> keys(random.one_in(3) ? 0 : count);
    for (std::uint64_t& key : keys)
        key = random.one_in(2) ? random.bits() : random.below(2);
    return keys;
}

/// Some of them zero, not all; now and then few different ones, so that remainders are equal.
std::vector<std::uint64_t> random_weights(Random& random) {
    std::vector<std::uint64_t> weights(1 + random.below(random.one_in(20) ? 60 : 7));
    const bool few = random.one_in(2);
    for (std::uint64_t& weight : weights)
        weight = few ? random.below(4) : random.any_width();
    weights[random.below(weights.size())] = 1 + random.below(100);
    return weights;
}

void decay_weights(Digest& digest) {
    constexpr std::int64_t hour_us = std::int64_t{3600} * 1'000'000;
    for (std::int64_t age = 0; age <= 90 * 24; ++age)
        for (const std::int64_t days : {1, 3, 7, 14, 30, 90})
            digest.take(decay_weight(age * hour_us, days * 24 * hour_us));
    Random random(1);
    for (int i = 0; i < 100'000; ++i) {
        const auto half_life = static_cast<std::int64_t>(1 + random.any_width(62));
        const auto age = static_cast<std::int64_t>(
            random.one_in(4) ? random.any_width(63)
                             : random.below(static_cast<std::uint64_t>(half_life)));
        digest.take(decay_weight(age, half_life));
    }
}

void weights(Digest& digest) {
    Random random(2);
    for (int i = 0; i < 50'000; ++i) {
        std::vector<std::uint64_t> weights(1 + random.below(6));
        std::vector<Touch> touches(random.below(12));
        for (Touch& touch : touches)
            touch = {.channel = static_cast<std::uint32_t>(random.below(weights.size())),
                     .is_direct = random.one_in(3),
                     .age_us = static_cast<std::int64_t>(random.any_width(43)),
                     .custom_weight = random.one_in(4) ? 0 : random.any_width(39)};
        Model model;
        model.method = static_cast<Method>(i % 7);
        if (random.one_in(2))
            model.position = {static_cast<std::uint32_t>(random.below(101)),
                              static_cast<std::uint32_t>(random.below(101)),
                              static_cast<std::uint32_t>(random.below(101))};
        model.half_life_us = static_cast<std::int64_t>(1 + random.any_width(43));
        weigh(model, touches, weights);
        for (const std::uint64_t weight : weights)
            digest.take(weight);
    }
}

void cents_and_ratios(Digest& digest) {
    Random random(3);
    for (int i = 0; i < 100'000; ++i) {
        const std::vector<std::uint64_t> weights = random_weights(random);
        const std::vector<std::uint64_t> keys = random_keys(random, weights.size());
        std::vector<Cents> shares(weights.size());
        apportion(random_total(random), weights, keys, shares);
        digest.take(shares);
        apportion(ratio_units, weights, keys, shares);
        digest.take(shares);
    }
}

void cents_by_decimals(Digest& digest) {
    Random random(4);
    for (int i = 0; i < 30'000; ++i) {
        std::vector<std::vector<std::int16_t>> digits(1 + random.below(6));
        std::vector<Decimal> weights;
        const std::uint64_t longest = random.one_in(2) ? 2 : 8;
        for (std::vector<std::int16_t>& places : digits) {
            places.resize(1 + random.below(longest));
            for (std::int16_t& place : places)
                place = static_cast<std::int16_t>(random.below(10'000));
            places.front() = static_cast<std::int16_t>(places.front() | 1);
            if (random.one_in(3))
                places = digits.front(); // perhaps an equal remainder
            weights.push_back(
                {.digits = places, .first_exponent = static_cast<int>(random.below(4)) - 2});
        }
        const Cents total = random_total(random);
        const std::vector<std::uint64_t> keys = random_keys(random, weights.size());
        std::vector<Cents> shares(weights.size());
        apportion(total, weights, keys, shares);
        digest.take(shares);
    }
}

void refunds(Digest& digest) {
    Random random(5);
    for (int i = 0; i < 30'000; ++i) {
        const std::vector<std::uint64_t> weights = random_weights(random);
        const std::vector<std::uint64_t> keys = random_keys(random, weights.size());
        std::vector<Cents> remaining(weights.size());
        std::vector<Cents> shares(weights.size());
        std::uint64_t left = 1 + random.any_width(62);
        apportion(static_cast<Cents>(left), weights, keys, remaining);
        while (left > 0) {
            const std::uint64_t refund = random.one_in(3) ? left : 1 + random.below(left);
            take_back(-static_cast<Cents>(refund), remaining, keys, shares);
            digest.take(shares);
            left -= refund;
        }
        digest.take(remaining);
    }
}

std::string random_text(Random& random) {
    std::string text(random.below(40), ' ');
    for (char& letter : text)
        letter = static_cast<char>(random.bits() & 0xff);
    return text;
}

void ids_and_tie_keys(Digest& digest) {
    Random random(6);
    for (int i = 0; i < 50'000; ++i) {
        const auto created_at_us = static_cast<std::int64_t>(random.any_width(63));
        const Uuid tenant_id = uuid_v7(created_at_us, random.bits());
        const auto kind =
            random.one_in(2) ? BusinessKeyKind::external_event_id : BusinessKeyKind::correlation_id;
        const Uuid event_id = keyed_event_id(tenant_id, kind, random_text(random));
        const std::string model_version = random_text(random);
        const auto occurred_at_ms = static_cast<std::int64_t>(random.bits());
        const AllocationIdentifier identifier(tenant_id, event_id, model_version, occurred_at_ms);
        const AllocationIdentity identity = identifier.of(random_text(random));
        digest.take(tenant_id);
        digest.take(event_id);
        digest.take(identity.tie_key);
        digest.take(identity.id);
    }
}

struct Subject {
    std::string_view name;
    void (*compute)(Digest&);
};

constexpr std::array<Subject, 6> subjects = {{{"decay_weights", decay_weights},
                                              {"weights", weights},
                                              {"cents_and_ratios", cents_and_ratios},
                                              {"cents_by_decimals", cents_by_decimals},
                                              {"refunds", refunds},
                                              {"ids_and_tie_keys", ids_and_tie_keys}}};

} // namespace

int main(int count, char** arguments) {
    const bool list = count == 3 && std::string_view(arguments[1]) == "--list";
    for (const Subject& subject : subjects)
        if (!list || subject.name == arguments[2]) {
            Digest digest(subject.name, list);
            subject.compute(digest);
        }
    return 0;
}
