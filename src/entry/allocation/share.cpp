// share: one total split over the rows of a window partition.
//
// The one idea: the shares of a partition depend on all its rows, so they are computed once, at its
// first row, and stay in PostgreSQL's memory for the partition until its last. A row then finds its
// own share by its position: O(1).
//
// Temporary memory is bounded by the core's limits, not by the input: a Decimal and its digits for
// each weight, and what the core needs, all freed before the second row. Only the shares stay: 8
// bytes per row.

#include "pg/boundary.hpp"
#include "pg/convert.hpp"

namespace attribution::entry {
namespace {

constexpr int total_argument = 0;
constexpr int weight_argument = 1;

static_assert(core::max_shares * sizeof(core::Decimal) <= MaxAllocSize);

/// What lives from the first row of a partition to its last. PostgreSQL zeroes it before the first.
struct Partition {
    bool is_computed;
    core::Cents* shares; // by position; nullptr when every total is NULL
};

/// A partition as it was read.
struct Input {
    bool has_total;
    core::Cents total;
    std::span<core::Decimal> weights;
    bool is_complete; // false: the weights have more digits than the core accepts, so reading
                      // stopped before the last row
};

/// An argument of a row of the partition, whatever the frame is; valid until the next call.
Datum window_argument(WindowObject window, int number, std::size_t row, bool* isnull) {
    bool is_outside;
    const Datum value = WinGetFuncArgInPartition(window, number, static_cast<int>(row),
                                                 WINDOW_SEEK_HEAD, false, isnull, &is_outside);
    if (is_outside)
        elog(ERROR, "row %zu of a partition is missing", row + 1);
    return value;
}

/// The weight with digits of its own in `memory`, without zeros at the end.
core::Decimal copy_weight(core::Decimal weight, MemoryContext memory) {
    std::size_t count = weight.digits.size();
    while (count > 0 && weight.digits[count - 1] == 0)
        --count;
    auto* digits =
        static_cast<std::int16_t*>(MemoryContextAlloc(memory, sizeof(std::int16_t) * (count + 1)));
    std::copy_n(weight.digits.data(), count, digits);
    weight.digits = {digits, count};
    return weight;
}

/// Refuses a total that is not that of the first row.
void check_total(const Input& input, bool isnull, core::Cents total, std::size_t row) {
    if (isnull != !input.has_total)
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                        errmsg("total is null in some rows of the partition"),
                        isnull ? errdetail("Row 1 has " INT64_FORMAT ", row %zu has null.",
                                           static_cast<int64>(input.total), row + 1)
                               : errdetail("Row 1 has null, row %zu has " INT64_FORMAT ".", row + 1,
                                           static_cast<int64>(total)),
                        errhint("Pass the same total in every row of a partition.")));
    if (!isnull && total != input.total)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("total differs within the partition"),
                 errdetail("Row 1 has " INT64_FORMAT ", row %zu has " INT64_FORMAT ".",
                           static_cast<int64>(input.total), row + 1, static_cast<int64>(total)),
                 errhint("Pass the same total in every row of a partition, and name in PARTITION "
                         "BY what has a total of its own.")));
}

/// Reads every row of the partition. When the total is NULL the weights are not read, as a strict
/// function would not read them. The result is in the current memory context.
Input read_partition(WindowObject window, std::size_t count) {
    const MemoryContext result_memory = CurrentMemoryContext;
    // The arguments are computed in the current memory context, which lives too long for a million.
    const MemoryContext row_memory =
        AllocSetContextCreate(result_memory, "allocate_share row", ALLOCSET_DEFAULT_SIZES);
    Input input{};
    auto* weights = static_cast<core::Decimal*>(palloc(sizeof(core::Decimal) * count));
    std::size_t digits = 0;
    std::size_t row = 0;
    // The core refuses weights of more than max_scaled_digits digits, so reading on is of no use.
    for (; row < count && digits <= core::max_scaled_digits; ++row) {
        CHECK_FOR_INTERRUPTS();
        MemoryContextSwitchTo(row_memory);
        bool isnull;
        const Datum total = window_argument(window, total_argument, row, &isnull);
        const core::Cents cents = isnull ? 0 : DatumGetInt64(total);
        if (row == 0) {
            input.has_total = !isnull;
            input.total = cents;
        }
        check_total(input, isnull, cents, row);
        if (input.has_total) {
            const Datum weight = window_argument(window, weight_argument, row, &isnull);
            if (isnull)
                ereport(ERROR,
                        (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("weight must not be null"),
                         errdetail("Row %zu of the partition has none.", row + 1),
                         errhint("Pass 0 for a row that gets nothing.")));
            weights[row] = copy_weight(pg::decimal_of(weight), result_memory);
            digits += weights[row].digits.size();
        }
        MemoryContextReset(row_memory);
    }
    MemoryContextSwitchTo(result_memory);
    MemoryContextDelete(row_memory);
    input.weights = {weights, row};
    input.is_complete = row == count;
    return input;
}

/// Computes the shares of all rows of the partition.
void compute_partition(WindowObject window, Partition& partition) {
    Assert(!partition.is_computed);
    const auto count = static_cast<std::size_t>(WinGetPartitionRowCount(window));
    if (count > core::max_shares)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many shares"),
                        errdetail("The partition has %zu rows, at most %zu are allowed.", count,
                                  core::max_shares)));
    const Input input = read_partition(window, count);
    if (input.has_total) {
        // The memory of the partition: PostgreSQL resets it after the last row.
        const MemoryContext memory = GetMemoryChunkContext(&partition);
        partition.shares = static_cast<core::Cents*>(
            MemoryContextAlloc(memory, sizeof(core::Cents) * input.weights.size()));
        const std::span<core::Cents> shares{partition.shares, input.weights.size()};

        pg::guarded([&] { core::apportion(input.total, input.weights, {}, shares); });

        if (!input.is_complete)
            elog(ERROR, "weights of too many digits were not refused");
    }
    partition.is_computed = true;
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_allocate_share) {
    WindowObject window = PG_WINDOW_OBJECT();
    // The parser demands OVER of a call by name, but CREATE OPERATOR takes a window function too.
    if (!WindowObjectIsValid(window))
        ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                        errmsg("allocate_share() must be called as a window function"),
                        errhint("Call it by its name, with an OVER clause.")));
    auto& partition = *static_cast<entry::Partition*>(
        WinGetPartitionLocalMemory(window, sizeof(entry::Partition)));
    if (!partition.is_computed)
        entry::compute_partition(window, partition);
    if (partition.shares == nullptr)
        PG_RETURN_NULL();
    const int64 position = WinGetCurrentPosition(window);
    Assert(position >= 0 && position < WinGetPartitionRowCount(window));
    PG_RETURN_INT64(partition.shares[position]);
}
