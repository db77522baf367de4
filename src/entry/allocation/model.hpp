// model: the definition of a model version, read from its parameters.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/model.hpp"

#include "pg/postgres.hpp"

namespace attribution::entry {

/// A model version as the allocation uses it; texts live in the memory context it was read in.
struct ModelDefinition {
    core::Model model;
    std::int64_t lookback_us;
    std::span<std::string_view> excluded_channels; // sorted
    std::span<std::string_view> direct_channels;   // sorted

    struct ChannelWeight {
        std::string_view channel;
        std::uint64_t weight; // millionths
    };
    std::span<ChannelWeight> channel_weights; // sorted
    std::uint64_t default_weight;             // millionths, of channels that are not listed
    bool weights_come_from_caller;            // custom without parameters
};

/// What one whole weight of core::weigh stands for, as a power of ten: 10^-6 for custom, 10^-12 for
/// time_decay, 1 otherwise. Stored weights are divided by it.
int weight_decimals(core::Method method);

/// Reads and checks a definition. Raises 22023 for an unknown method or parameter or a value out of
/// range. `method` and `parameters` must live as long as what is returned.
ModelDefinition read_model(std::string_view method, Jsonb* parameters);

/// Reads the model version of a tenant into `memory`; nullptr when there is none. Inside an SPI
/// connection.
const ModelDefinition* find_model(Datum tenant_id, Datum model_version, MemoryContext memory);

/// Raises 22023: the tenant has no such model version.
[[noreturn]] void raise_unknown_model(Datum tenant_id, Datum model_version);

/// Raises 22023 when there is no such tenant, or none that the caller may see.
void check_tenant_exists(Datum tenant_id);

/// Raises 22023: the tenant, or an event of it, does not exist.
[[noreturn]] void raise_unknown_event(Datum tenant_id, Datum event_id);

} // namespace attribution::entry
