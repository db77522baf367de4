// Numbers that look random and are the same with every compiler and standard library.
#pragma once

#include <cstdint>

namespace attribution {

/// splitmix64 (S. Vigna).
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t bits() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

    /// 0 .. bound - 1, the low ones more often by less than bound / 2^64.
    std::uint64_t below(std::uint64_t bound) { return bits() % bound; }

    bool one_in(std::uint64_t count) { return below(count) == 0; }

    /// 0 .. 2^most - 1, every number of bits equally often.
    std::uint64_t any_width(std::uint64_t most = 64) {
        const std::uint64_t width = below(most + 1);
        return width == 0 ? 0 : bits() >> (64 - width);
    }

private:
    std::uint64_t state_;
};

} // namespace attribution
