// A module that does everything wrong on purpose: it throws every kind of exception through
// src/pg/boundary.hpp and counts the C++ objects that stay alive. Never installed with the
// extension.

#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "pg/boundary.hpp"

extern "C" {
PG_MODULE_MAGIC;
}

#define TEST_FUNCTION(name)                                                                        \
    extern "C" {                                                                                   \
    PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                                                      \
    PG_FUNCTION_INFO_V1(name);                                                                     \
    }                                                                                              \
    Datum name([[maybe_unused]] PG_FUNCTION_ARGS)

namespace {

using namespace attribution;

constinit long live_objects = 0;

/// An object that is missed when its destructor is jumped over; the string makes it a leak as well.
class Counted {
public:
    Counted() : text_(100, 'x') { ++live_objects; }
    Counted(const Counted& other) : text_(other.text_) { ++live_objects; }
    Counted& operator=(const Counted&) = delete;
    ~Counted() { --live_objects; }

private:
    std::string text_;
};

/// An exception that is itself counted: raising inside its handler would leak it.
class CountedError : public core::Error {
public:
    using core::Error::Error;

private:
    Counted counted_;
};

std::string_view text_argument(FunctionCallInfo fcinfo, int number) {
    const text* value = PG_GETARG_TEXT_PP(number);
    return {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

void throw_kind(std::string_view kind) {
    const Counted local;
    const std::vector<Counted> several(3);
    if (kind == "invalid_value")
        throw CountedError(core::Fault::invalid_value, "bad value", "the detail", "the hint");
    if (kind == "null_value")
        throw core::Error(core::Fault::null_value, "null");
    if (kind == "out_of_range")
        throw core::Error(core::Fault::out_of_range, "out of range");
    if (kind == "limit_exceeded")
        throw core::Error(core::Fault::limit_exceeded, "too many");
    if (kind == "runtime_error")
        throw std::runtime_error("100% wrong");
    if (kind == "logic_error")
        throw std::logic_error("a bug");
    if (kind == "length_error")
        std::string().resize(std::string().max_size() + 1);
    if (kind == "bad_alloc") {
        // volatile: a compiler may remove an allocation that nobody uses.
        char* volatile memory = new char[std::size_t{1} << 46];
        delete[] memory;
    }
    if (kind == "int")
        throw 42;
    if (kind == "long_text")
        throw core::Error(core::Fault::invalid_value, "\xc3\xa4" + std::string(5000, 'm'),
                          // ends in two-byte characters at both parities
                          [] {
                              std::string text = "d";
                              for (int i = 0; i < 3000; ++i)
                                  text += "\xc3\xa4";
                              return text;
                          }());
}

} // namespace

TEST_FUNCTION(boundary_live_objects) {
    PG_RETURN_INT64(live_objects);
}

/// Throws in C++; returns when the kind is unknown.
TEST_FUNCTION(boundary_throw) {
    const std::string_view kind = text_argument(fcinfo, 0);
    pg::guarded([&] { throw_kind(kind); });
    PG_RETURN_VOID();
}

/// PostgreSQL raises while C++ objects live on both sides of the call; or runs a query there.
TEST_FUNCTION(boundary_call) {
    const std::string_view kind = text_argument(fcinfo, 0);
    const MemoryContext memory = CurrentMemoryContext;
    ErrorContextCallback* const context = error_context_stack;
    bool restored = false;
    pg::guarded([&] {
        const Counted outer;
        const std::vector<Counted> several(3);
        try {
            const Counted inner;
            pg::pg_call([&] {
                MemoryContextSwitchTo(TopTransactionContext);
                if (kind == "raise")
                    ereport(ERROR,
                            (errcode(ERRCODE_CHECK_VIOLATION), errmsg("raised inside"),
                             errdetail("detail inside"), errhint("hint inside"),
                             err_generic_string(PG_DIAG_CONSTRAINT_NAME, "constraint_inside")));
                if (kind == "sleep")
                    DirectFunctionCall1(pg_sleep, Float8GetDatum(10));
                if (kind == "division")
                    DirectFunctionCall2(int4div, Int32GetDatum(1), Int32GetDatum(0));
                MemoryContextSwitchTo(memory);
            });
        } catch (...) {
            restored = CurrentMemoryContext == memory && error_context_stack == context;
            if (!restored)
                throw std::logic_error("memory context or error context not restored");
            throw;
        }
    });
    PG_RETURN_VOID();
}

/// C++ over PostgreSQL over C++: what is thrown innermost arrives outermost.
TEST_FUNCTION(boundary_nested) {
    const Datum kind = PG_GETARG_DATUM(0);
    pg::guarded([&] {
        const Counted outer;
        pg::pg_call([&] { DirectFunctionCall1(boundary_throw, kind); });
    });
    PG_RETURN_VOID();
}

/// Survives an error by a subtransaction and returns its message; memory and owner are as before.
TEST_FUNCTION(boundary_attempt) {
    const Datum kind = PG_GETARG_DATUM(0);
    const MemoryContext memory = CurrentMemoryContext;
    const ResourceOwner owner = CurrentResourceOwner;
    ErrorData* failure = pg::attempt([&] { DirectFunctionCall1(boundary_throw, kind); });
    if (CurrentMemoryContext != memory || CurrentResourceOwner != owner)
        elog(ERROR, "memory context or resource owner not restored");
    if (failure == nullptr)
        PG_RETURN_NULL();
    PG_RETURN_TEXT_P(cstring_to_text(failure->message));
}

// ---------------------------------------------------------------------------------------------
// The planner's hook, which the extension takes while it asks about an index and gives back

namespace {

constinit get_relation_info_hook_type hook_before = nullptr;
constinit long relation_count = 0;

extern "C" void count_relation(PlannerInfo* root, Oid table, bool is_parent, RelOptInfo* relation) {
    ++relation_count;
    if (hook_before != nullptr)
        hook_before(root, table, is_parent, relation);
}

} // namespace

/// Hooks into the planner for the rest of the session, as another extension does when it is loaded.
TEST_FUNCTION(boundary_hook_planner) {
    hook_before = get_relation_info_hook;
    get_relation_info_hook = count_relation;
    PG_RETURN_VOID();
}

/// Whose hook the planner has.
TEST_FUNCTION(boundary_planner_hook) {
    const char* whose = get_relation_info_hook == nullptr          ? "none"
                        : get_relation_info_hook == count_relation ? "the test's"
                                                                   : "another";
    PG_RETURN_TEXT_P(cstring_to_text(whose));
}

/// How many relations the planner has looked at while the test's hook was called.
TEST_FUNCTION(boundary_planned_relations) {
    PG_RETURN_INT64(relation_count);
}
