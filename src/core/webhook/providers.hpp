// The readers of the four providers, one file each. doc/webhook.md has the tables of their topics.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include "core/webhook/reader.hpp"

namespace attribution::core {

/// Each reads a payload that is an object, by the topic of the delivery.
void read_shopify(DeliveryReader& reader);
void read_stripe(DeliveryReader& reader);
void read_paypal(DeliveryReader& reader);
void read_woocommerce(DeliveryReader& reader);

} // namespace attribution::core
