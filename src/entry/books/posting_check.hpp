// posting_check: what a new row of the ledger must agree with.
#pragma once

#include "pg/boundary.hpp"

namespace attribution::entry {

namespace detail {
extern bool are_postings_checked_by_caller;
}

/// Runs PostgreSQL code whose new rows of the ledger are not compared with their allocations,
/// because they were copied from allocations that the caller has locked, into books that it has
/// locked, by a statement that runs no code of users (pg::inserts_run_nothing_foreign). `body` is
/// C: it owns nothing and throws nothing.
template <class Body>
void without_posting_check(Body&& body) {
    pg::while_set(&detail::are_postings_checked_by_caller, true, body);
}

} // namespace attribution::entry
