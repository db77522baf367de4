// Where a customer came from, as far as a payload says: a channel, and the session of a journey.
//
// The one idea: shops write it wherever they can, in pairs of names and values, in objects, in
// URLs. What is found last under a name counts; of the names, the more specific one.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <string_view>

#include "core/json.hpp"
#include "core/webhook/reader.hpp"

namespace attribution::core {

class Origin {
public:
    /// Reads pairs such as {"name": "utm_source", "value": "google"}, the names under `name_key`.
    void read_pairs(Json pairs, std::string_view name_key) noexcept;
    /// Reads members such as "utm_source": "google".
    void read_members(Json object) noexcept;
    /// Reads channel, utm_source and session_id of a query string.
    void read_query(std::string_view query, DeliveryReader& reader);
    /// Reads utm_source of the URL of the first page, which counts less than all others.
    void read_landing_url(std::string_view url, DeliveryReader& reader);

    /// Sets channel and session of a notice. A channel that is too long does not count, nor does a
    /// session that is no UUID.
    void apply(Notice& notice) const noexcept;

private:
    void read(std::string_view name, std::string_view value) noexcept;

    std::string_view channel_, utm_source_, landing_source_, session_;
};

} // namespace attribution::core
