// What a share costs in the core, without PostgreSQL: per_share, beside the time per call.

#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/apportion.hpp"
#include "core/identity.hpp"

namespace {

using namespace attribution;

/// splitmix64 (S. Vigna): the same weights on every machine.
class Random {
public:
    std::uint64_t below(std::uint64_t bound) {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return (z ^ (z >> 31)) % bound;
    }

private:
    std::uint64_t state_ = 1;
};

struct Input {
    std::vector<std::uint64_t> whole;
    std::vector<std::array<std::int16_t, 2>> digits;
    std::vector<core::Decimal> decimals; // like numeric 12.34
    std::vector<std::uint64_t> tie_keys;
    std::vector<core::Cents> shares;

    explicit Input(std::size_t count) : shares(count) {
        Random random;
        for (std::size_t i = 0; i < count; ++i) {
            whole.push_back(1 + random.below(1'000'000));
            digits.push_back({static_cast<std::int16_t>(1 + random.below(99)),
                              static_cast<std::int16_t>(100 * (1 + random.below(99)))});
            tie_keys.push_back(random.below(UINT64_MAX));
        }
        for (const auto& pair : digits)
            decimals.push_back({.digits = pair});
    }
};

/// Different totals, so that no call can be predicted from the one before.
class Totals {
public:
    Totals() {
        for (core::Cents& total : values_)
            total = static_cast<core::Cents>(100 + random_.below(100'000'000));
    }
    core::Cents next() { return values_[position_++ % values_.size()]; }

private:
    Random random_;
    std::array<core::Cents, 1024> values_{};
    std::size_t position_ = 0;
};

void per_share(benchmark::State& state, std::size_t count) {
    state.counters["per_share"] = benchmark::Counter(static_cast<double>(count),
                                                     benchmark::Counter::kIsIterationInvariantRate |
                                                         benchmark::Counter::kInvert);
}

void apportion_whole(benchmark::State& state) {
    const auto count = static_cast<std::size_t>(state.range(0));
    constexpr std::size_t windows = 1024; // other weights each time, too
    Input input(count + windows);
    Totals totals;
    std::size_t window = 0;
    for (auto _ : state) {
        window = (window + 1) % windows;
        core::apportion(totals.next(),
                        std::span<const std::uint64_t>(input.whole).subspan(window, count),
                        std::span<const std::uint64_t>(input.tie_keys).subspan(window, count),
                        std::span(input.shares).first(count));
        benchmark::DoNotOptimize(input.shares.data());
        benchmark::ClobberMemory();
    }
    per_share(state, count);
}

void apportion_decimal(benchmark::State& state) {
    const auto count = static_cast<std::size_t>(state.range(0));
    Input input(count);
    Totals totals;
    for (auto _ : state) {
        core::apportion(totals.next(), input.decimals, input.tie_keys, input.shares);
        benchmark::DoNotOptimize(input.shares.data());
        benchmark::ClobberMemory();
    }
    per_share(state, count);
}

/// Equal weights: every remainder is tied, so the tie keys decide all.
void apportion_equal(benchmark::State& state) {
    const auto count = static_cast<std::size_t>(state.range(0));
    Input input(count);
    input.whole.assign(count, 1);
    Totals totals;
    for (auto _ : state) {
        core::apportion(totals.next(), input.whole, input.tie_keys, input.shares);
        benchmark::DoNotOptimize(input.shares.data());
        benchmark::ClobberMemory();
    }
    per_share(state, count);
}

constexpr std::array<std::string_view, 5> channels = {"affiliate", "direct", "email", "organic",
                                                      "paid_search"};

void identify(benchmark::State& state) {
    core::Uuid tenant_id{}, event_id{};
    std::uint8_t step = 0;
    for (auto _ : state) {
        event_id[15] = ++step;
        for (const std::string_view channel : channels)
            benchmark::DoNotOptimize(core::identify_allocation({.tenant_id = tenant_id,
                                                                .event_id = event_id,
                                                                .model_version = "1.0.0",
                                                                .channel = channel},
                                                               1'767'225'600'000));
    }
    per_share(state, channels.size());
}

/// As a conversion is allocated: the event's part of the key is hashed once.
void identify_event(benchmark::State& state) {
    core::Uuid tenant_id{}, event_id{};
    std::uint8_t step = 0;
    for (auto _ : state) {
        event_id[15] = ++step;
        const core::AllocationIdentifier identifier(tenant_id, event_id, "1.0.0",
                                                    1'767'225'600'000);
        for (const std::string_view channel : channels)
            benchmark::DoNotOptimize(identifier.of(channel));
    }
    per_share(state, channels.size());
}

void counts(benchmark::internal::Benchmark* benchmark) {
    for (const std::int64_t count : {5, 10, 16, 1'000, 1'000'000})
        benchmark->Arg(count);
}

BENCHMARK(apportion_whole)->Apply(counts);
BENCHMARK(apportion_decimal)->Apply(counts);
BENCHMARK(apportion_equal)->Apply(counts);
BENCHMARK(identify);
BENCHMARK(identify_event);

} // namespace

BENCHMARK_MAIN();
