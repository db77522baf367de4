// journeys: conversions by a model, from the touches of their journeys.
#pragma once

#include <span>

#include "core/definition.hpp"

#include "entry/allocation/rows.hpp"

namespace attribution::entry {

/// Adds the rows of conversions by the model, from the touches of their journeys as the next
/// statement sees them. Raises 54000 for a conversion with too many touches or channels.
void add_by_model(Rows* rows, const core::ModelDefinition& definition,
                  std::span<const Event> conversions);

} // namespace attribution::entry
