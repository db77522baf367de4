// Statements that know the types of their parameters and columns.
//
// The one idea: a statement is declared with its signature, like a function, and called like one. A
// wrong number or type of arguments does not compile, NULL is std::optional, and a row is a tuple
// or a struct. Whether the columns are of those types is asked once per call, before a value is
// read: an owner may have altered a column since.
//
//     using Found = std::tuple<core::Uuid, core::Cents>;
//     static constinit pg::Statement<Found(core::Uuid, std::string_view)> find{R"sql(
//         SELECT e.id, e.revenue_cents
//         FROM attribution.attribution_events e
//         WHERE e.tenant_id = $1 AND e.external_event_id = $2)sql"};
//     const auto rows = find.run(tenant_id, key);
//     if (rows.empty())
//         return false;
//     const auto [id, cents] = rows[0];
//
// The result of a signature is one of
//     void                  the statement returns no rows, or nobody reads them
//     T                     one column
//     std::tuple<T, ...>    several
//     a struct              that says `using Columns = std::tuple<T, ...>;` and whose members have
//                           these types in this order
//     Slot                  columns that are known at run time only: stream() gets the slot
//
// A statement is prepared once per backend, in the first SPI connection that runs it; make it
// static and constinit. Texts and rows that are read point into SPI's result: they are valid until
// free() or the end of the SPI connection; pg::copied() copies one. Everything here is trivially
// destructible.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <tuple>
#include <utility>

#include "pg/columns.hpp"

namespace attribution::pg {

/// How long a plan lives, and whether PostgreSQL makes it for the values of the parameters.
enum class Plan : std::uint8_t {
    generic, // as long as the backend; never made for the values
    chosen,  // as long as the backend; PostgreSQL decides whether to plan for the values
    once, // as long as the SPI connection: for texts that are built, and for plans that depend on
          // how large the tables are now
};

/// A row whose columns are known at run time only.
struct Slot {
    TupleTableSlot* slot;
};

namespace detail {

/// Text, kind of plan, and the plan once the statement was prepared.
struct Prepared {
    const char* sql = nullptr;
    Plan kind = Plan::generic;
    SPIPlanPtr plan = nullptr;
};

/// One call: parameters with their types, and the types of the columns that are read.
struct Call {
    std::span<const Oid> types;
    Datum* values;
    const char* nulls; // as SPI takes them
    std::span<const Oid> columns;
    bool any_columns = false; // the columns are not looked at here
};

struct Result {
    SPITupleTable* table;
    std::uint64_t count;
};

Result run(Prepared& statement, const Call& call);
Result run_latest(Prepared& statement, const Call& call);
Result run_as_of(Prepared& statement, Snapshot snapshot, const Call& call);
Result run_stable(Prepared& statement, const Call& call);

using Receiver = void (*)(TupleTableSlot* slot, void* state);
void stream(Prepared& statement, Snapshot snapshot, const Call& call, Receiver receive,
            void* state);
void discard(Prepared& statement);

/// The columns of a result type.
template <class Row>
struct Shape {
    using Columns = std::tuple<Row>; // one column
};
template <class... Column>
struct Shape<std::tuple<Column...>> {
    using Columns = std::tuple<Column...>;
};
template <class Row>
requires requires {
    typename Row::Columns;
}
struct Shape<Row> {
    using Columns = typename Row::Columns;
};

template <class Columns>
struct ColumnTypes;
template <class... Column>
struct ColumnTypes<std::tuple<Column...>> {
    static constexpr std::array<Oid, sizeof...(Column)> oids = {oid_of<Column>...};
};

/// The row, whose values get(number, &isnull) gives; numbers start at 1.
template <class Row, class Get>
Row read_row(TupleDesc columns, Get get) {
    using Columns = typename Shape<Row>::Columns;
    return [&]<std::size_t... i>(std::index_sequence<i...>) {
        const auto read = [&]<class T>(std::type_identity<T>, int number) {
            bool isnull;
            const Datum datum = get(number, &isnull);
            return column_of<T>(columns, number, datum, isnull);
        };
        // Braces: the columns are read in their order.
        return Row{read(std::type_identity<std::tuple_element_t<i, Columns>>(),
                        static_cast<int>(i) + 1)...};
    }
    (std::make_index_sequence<std::tuple_size_v<Columns>>());
}

} // namespace detail

/// The rows of a statement that was run.
template <class Row>
class Rows {
public:
    explicit Rows(detail::Result result) : result_(result) {}

    [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(result_.count); }
    [[nodiscard]] bool empty() const { return result_.count == 0; }

    [[nodiscard]] Row operator[](std::size_t number) const {
        Assert(number < size());
        const HeapTuple tuple = result_.table->vals[number];
        const TupleDesc columns = result_.table->tupdesc;
        return detail::read_row<Row>(columns, [&](int column, bool* isnull) {
            return SPI_getbinval(tuple, columns, column, isnull);
        });
    }

    /// The only row, or the first one.
    [[nodiscard]] std::optional<Row> first() const {
        if (empty())
            return std::nullopt;
        return (*this)[0];
    }

    class Iterator {
    public:
        Iterator(const Rows* rows, std::size_t number) : rows_(rows), number_(number) {}
        Row operator*() const { return (*rows_)[number_]; }
        Iterator& operator++() {
            ++number_;
            return *this;
        }
        bool operator==(const Iterator& other) const { return number_ == other.number_; }

    private:
        const Rows* rows_;
        std::size_t number_;
    };
    [[nodiscard]] Iterator begin() const { return {this, 0}; }
    [[nodiscard]] Iterator end() const { return {this, size()}; }

    /// Gives the memory of the rows back before the SPI connection ends.
    void free() {
        if (result_.table != nullptr)
            SPI_freetuptable(result_.table);
        result_ = {nullptr, 0};
    }

private:
    detail::Result result_;
};

template <class Signature>
class Statement;

template <class Row, class... Parameter>
class Statement<Row(Parameter...)> {
public:
    /// Without a text: one is assigned before the first call.
    constexpr Statement() = default;
    constexpr explicit Statement(const char* sql, Plan kind = Plan::generic)
        : prepared_{.sql = sql, .kind = kind, .plan = nullptr} {}

    /// What a call returns: the number of rows that were written, or the rows.
    using Returned = std::conditional_t<std::is_void_v<Row>, std::uint64_t, Rows<Row>>;

    /// Runs the statement. It sees what this transaction wrote, under a new snapshot in READ
    /// COMMITTED. Inside an SPI connection, like all that follow.
    Returned run(const Parameter&... arguments) {
        return call([&](const detail::Call& call) { return detail::run(prepared_, call); },
                    arguments...);
    }

    /// The same under the latest committed state whatever the isolation level is: what another
    /// transaction committed while this one waited for a lock is seen.
    Returned run_latest(const Parameter&... arguments) {
        return call([&](const detail::Call& call) { return detail::run_latest(prepared_, call); },
                    arguments...);
    }

    /// The same as `snapshot` sees it, and what this transaction wrote.
    Returned run_as_of(Snapshot snapshot, const Parameter&... arguments) {
        return call(
            [&](const detail::Call& call) { return detail::run_as_of(prepared_, snapshot, call); },
            arguments...);
    }

    /// The same under the snapshot of the caller's query, as a stable function reads.
    Returned run_stable(const Parameter&... arguments) {
        return call([&](const detail::Call& call) { return detail::run_stable(prepared_, call); },
                    arguments...);
    }

    /// Calls visit(row) for each row as it is found, so that any number of them needs no memory.
    /// `visit` runs inside the executor: it may not use SPI, and what it reads is good until it
    /// returns.
    template <class Visit>
    void stream(Visit&& visit, const Parameter&... arguments) {
        stream_as_of(nullptr, std::forward<Visit>(visit), arguments...);
    }

    /// The same, read-only, as `snapshot` sees it.
    template <class Visit>
    void stream_as_of(Snapshot snapshot, Visit&& visit, const Parameter&... arguments) {
        using Visitor = std::remove_reference_t<Visit>;
        with_arguments(
            [&](const detail::Call& call) {
                detail::stream(
                    prepared_, snapshot, call,
                    [](TupleTableSlot* slot, void* state) {
                        auto& visitor = *static_cast<Visitor*>(state);
                        if constexpr (std::is_same_v<Row, Slot>)
                            visitor(Slot{slot});
                        else
                            visitor(detail::read_row<Row>(
                                slot->tts_tupleDescriptor, [&](int column, bool* isnull) {
                                    return slot_getattr(slot, column, isnull);
                                }));
                    },
                    const_cast<void*>(static_cast<const void*>(&visit)));
            },
            arguments...);
    }

    /// Frees the plan, for a statement whose text is freed as well.
    void discard() { detail::discard(prepared_); }
    [[nodiscard]] const char* sql() const { return prepared_.sql; }

private:
    template <class Run>
    void with_arguments(Run run, const Parameter&... arguments) {
        static constexpr std::array<Oid, sizeof...(Parameter)> types = {oid_of<Parameter>...};
        // One more: an array of no elements is none.
        Datum values[sizeof...(Parameter) + 1];
        char nulls[sizeof...(Parameter) + 1];
        std::size_t number = 0;
        [[maybe_unused]] const auto add = [&](const auto& argument) {
            bool isnull;
            values[number] = datum_of(argument, &isnull);
            nulls[number++] = isnull ? 'n' : ' ';
        };
        (add(arguments), ...);
        detail::Call call{.types = types, .values = values, .nulls = nulls, .columns = {}};
        if constexpr (std::is_void_v<Row> || std::is_same_v<Row, Slot>)
            call.any_columns = true;
        else
            call.columns = detail::ColumnTypes<typename detail::Shape<Row>::Columns>::oids;
        run(call);
    }

    template <class Run>
    Returned call(Run run, const Parameter&... arguments) {
        detail::Result result{};
        with_arguments([&](const detail::Call& call) { result = run(call); }, arguments...);
        if constexpr (std::is_void_v<Row>)
            return result.count;
        else
            return Rows<Row>(result);
    }

    detail::Prepared prepared_{};
};

/// A copy of the text in the current memory context, with a zero after it.
std::string_view copied(std::string_view text);

} // namespace attribution::pg
