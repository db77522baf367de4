// What is known of each view's contents: states, doubts, and the fence between writers and
// refreshers (README.md).
//
//     state    one row per view that refresh() has refreshed, in refresh_state
//     doubt    a row in refresh_doubts: something changed that the log does not contain
//     known    the log contains all that the view lacks: there is a state, and no doubt
#pragma once

#include "entry/views/tracked_view.hpp"

namespace attribution::entry {

/// Why the log may lack changes that the view lacks as well, as the snapshot sees both; nullptr
/// when the log has all of them. `captured_by` describes the triggers as they are now
/// (describe_capture). A writer passes nullptr: it does not compare triggers, and ignores the doubt
/// of a state whose refresh did not wait for all writers. The text is palloc'd.
const char* why_unknown(const TrackedView& view, Snapshot snapshot, const char* captured_by);

/// True when the log contains all changes that the view of this name lacks, as the snapshot sees
/// both. For other wings; the view is locked and populated. Inside an SPI connection.
bool is_view_known(std::string_view view_name, Snapshot snapshot);

/// Writes the view's state after a refresh under the snapshot, and deletes the doubts that it sees.
/// The contents are known when `captured_by` is given and `doubt` is nullptr. `may_be_new`: there
/// may be no state yet; else 55000 is raised when there is none. Raises an error when somebody else
/// has changed the state since the snapshot.
void record_state(const TrackedView& view, Snapshot snapshot, TimestampTz refreshed_at,
                  const char* captured_by, const char* doubt, bool may_be_new);

/// What happened that the log does not contain. refresh_status sees by the kind whether the
/// contents are still at least as new as the last refresh: a REFRESH by hand may have put back
/// older ones.
enum class DoubtKind : std::uint8_t { truncated, replicated, altered, log_full, refreshed_by_hand };

/// Raises a doubt: once this transaction commits, the next refresh computes the whole view.
void raise_doubt(const TrackedView& view, DoubtKind kind, const char* reason);

/// Raises the doubt that a log has reached its limit, for a writer that has the fence of a known
/// view and leaves its changes out from now on.
void raise_log_full(const TrackedView& view);

/// Makes this transaction raise its doubts again, after somebody refreshed refresh_doubts.
void reset_raised_doubts();

/// Whether a writer may leave its changes out of the log.
struct WriterStanding {
    bool has_fence;       // no refresh makes the view known before this transaction ends
    bool is_view_unknown; // to a snapshot that is newer than the fence

    /// True when nobody needs the changes in the log: the next refresh computes the whole view.
    [[nodiscard]] bool may_leave_out() const { return has_fence && is_view_unknown; }
};

/// Takes the fence of the view shared, if no refresher has it, and reads the view's state.
WriterStanding ask_to_leave_out(const TrackedView& view);

/// Takes the fence of the view for a refresher: waits, a second at most, for transactions that left
/// changes out of the log, and lets none begin to until this transaction ends. False when some are
/// still at work, so what is refreshed now cannot become known.
bool fence_writers(Oid view);

/// The view that refresh() is running REFRESH on in this backend, InvalidOid otherwise: the event
/// trigger does not count that REFRESH as one by hand.
extern Oid view_in_refresh;

} // namespace attribution::entry
