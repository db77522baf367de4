// dead_event: deliveries that could not be taken in, stored whole until they can be.
#pragma once

#include "entry/intake/intaking.hpp"

namespace attribution::entry {

/// Stores a delivery that is dead, with its problem. Inside an SPI connection.
void store_dead_event(const Intaking& in);

} // namespace attribution::entry
