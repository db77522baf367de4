// What the core throws when it cannot do what it was asked.
//
// The core knows nothing of SQLSTATE. It names the kind of trouble; src/pg/boundary.hpp maps the
// kind to an SQLSTATE and carries the texts to PostgreSQL.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

namespace attribution::core {

enum class Fault {
    invalid_value,  // a weight is negative, not finite, ... (22023)
    null_value,     // a NULL where none is allowed (22004)
    out_of_range,   // the number does not fit (22003)
    limit_exceeded, // more than a stated limit (54000)
};

/// An error with the texts a user reads: message in lower case, detail with the numbers, hint with
/// the way out.
class Error : public std::exception {
public:
    Error(Fault fault, std::string message, std::string detail = {}, std::string hint = {})
        : fault_(fault), message_(std::move(message)), detail_(std::move(detail)),
          hint_(std::move(hint)) {}

    [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }
    [[nodiscard]] Fault fault() const noexcept { return fault_; }
    [[nodiscard]] const std::string& detail() const noexcept { return detail_; }
    [[nodiscard]] const std::string& hint() const noexcept { return hint_; }

private:
    Fault fault_;
    std::string message_;
    std::string detail_;
    std::string hint_;
};

/// What must hold whatever the input is; failing is a bug here or of the caller, reported instead
/// of miscounted.
inline void ensure(bool holds, const char* what) {
    if (!holds)
        throw std::logic_error(what);
}

} // namespace attribution::core
