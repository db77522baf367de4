// The boundary between C++ and PostgreSQL: the only file with try, catch, sigsetjmp or PG_TRY.
//
// Two crossings are impossible and fail silently: a C++ exception through PostgreSQL's C frames
// (the backend aborts and the whole cluster restarts), and PostgreSQL's ereport(ERROR), which is a
// longjmp, over a C++ frame (destructors are skipped). So a function that SQL can call has three
// paragraphs:
//
//     read     PostgreSQL only: arguments become spans, integers, pointers to palloc'd memory
//     compute  C++ only, inside guarded([&] { ... }): spans in, spans out
//     write    PostgreSQL only
//
// No object with a destructor shares a frame with a call into PostgreSQL, hence the second crossing
// cannot happen; guarded() stops the first. Only where both must interleave, pg_call() lets the C++
// side call PostgreSQL. attempt() is PostgreSQL's own way to survive an error: a subtransaction.
//
// test/boundary throws every kind of exception through here and counts live objects.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <new>
#include <string_view>
#include <type_traits>

#include "pg/postgres.hpp"

namespace attribution::pg {

/// Thrown by pg_call: "PostgreSQL raised; its error waits on its own stack". Not a std::exception,
/// so that no handler for those takes it for something it can mend.
struct PostgresError {};

namespace detail {

/// A C++ error as plain bytes: it outlives the handler, and a longjmp may pass over it.
struct Report {
    int sqlstate = 0;
    bool from_postgres = false;
    char message[512] = {};
    char detail[1024] = {};
    char hint[512] = {};
};

template <std::size_t size>
void copy_text(char (&target)[size], std::string_view text) noexcept {
    // A cut in the middle of a character would be invalid in the server encoding.
    std::size_t length = std::min(text.size(), size - 1);
    while (length < text.size() && length > 0 &&
           (static_cast<unsigned char>(text[length]) & 0xc0U) == 0x80U)
        --length;
    std::copy_n(text.data(), length, target);
    target[length] = '\0';
}

inline int sqlstate_of(core::Fault fault) noexcept {
    switch (fault) {
    case core::Fault::invalid_value:
        return ERRCODE_INVALID_PARAMETER_VALUE;
    case core::Fault::null_value:
        return ERRCODE_NULL_VALUE_NOT_ALLOWED;
    case core::Fault::out_of_range:
        return ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
    case core::Fault::limit_exceeded:
        return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
    }
    return ERRCODE_INTERNAL_ERROR;
}

/// Runs `body`; on a C++ error fills `report` and returns false after the handler has been left.
/// Raising inside the handler would leak the exception object each time.
template <class Body>
[[nodiscard]] bool run(Body& body, Report& report) noexcept {
    try {
        body();
        return true;
    } catch (const PostgresError&) {
        report.from_postgres = true;
    } catch (const core::Error& error) {
        report.sqlstate = sqlstate_of(error.fault());
        copy_text(report.message, error.what());
        copy_text(report.detail, error.detail());
        copy_text(report.hint, error.hint());
    } catch (const std::bad_alloc&) {
        report.sqlstate = ERRCODE_OUT_OF_MEMORY;
        copy_text(report.message, "out of memory");
        copy_text(report.detail, "Failed in C++ code of the attribution extension.");
    } catch (const std::exception& error) {
        report.sqlstate = ERRCODE_INTERNAL_ERROR;
        copy_text(report.message, error.what());
        copy_text(report.detail, "Unexpected C++ exception in the attribution extension.");
    } catch (...) {
        report.sqlstate = ERRCODE_INTERNAL_ERROR;
        copy_text(report.message, "unknown C++ exception in the attribution extension");
    }
    return false;
}

[[noreturn]] inline void raise(const Report& report) {
    if (report.from_postgres)
        PG_RE_THROW();
    ereport(ERROR, (errcode(report.sqlstate), errmsg("%s", report.message),
                    report.detail[0] != '\0' ? errdetail("%s", report.detail) : 0,
                    report.hint[0] != '\0' ? errhint("%s", report.hint) : 0));
    pg_unreachable();
}

} // namespace detail

/// Runs C++ code that may throw and makes a PostgreSQL error of what it throws.
/// `body` may not call PostgreSQL except through pg_call. It captures references and plain values
/// only: a destructor of the closure itself would be jumped over.
template <class Body>
void guarded(Body&& body) {
    static_assert(std::is_trivially_destructible_v<std::remove_reference_t<Body>>,
                  "the closure must own nothing: capture by reference");
    detail::Report report;
    if (!detail::run(body, report))
        detail::raise(report);
}

/// Calls PostgreSQL from C++ code inside guarded(). An error there becomes the exception
/// PostgresError, so that destructors run; guarded() raises it again, unchanged. Whoever catches
/// PostgresError must throw it on: going on after an error needs attempt().
/// `body` is C: it owns nothing and throws nothing.
template <class Body>
void pg_call(Body&& body) {
    static_assert(std::is_trivially_destructible_v<std::remove_reference_t<Body>>,
                  "the closure must own nothing: capture by reference");
    sigjmp_buf* const saved_stack = PG_exception_stack;
    ErrorContextCallback* const saved_context = error_context_stack;
    const MemoryContext saved_memory = CurrentMemoryContext;
    sigjmp_buf here;
    volatile bool failed = false;
    if (sigsetjmp(here, 0) == 0) {
        PG_exception_stack = &here;
        body();
    } else {
        failed = true;
    }
    PG_exception_stack = saved_stack;
    error_context_stack = saved_context;
    if (failed) {
        MemoryContextSwitchTo(saved_memory);
        throw PostgresError{};
    }
}

/// Runs PostgreSQL code in a subtransaction. Returns nullptr when it went well; else the
/// subtransaction is undone and the error is returned, copied into the caller's memory context.
/// `body` is C: it owns nothing and throws nothing. Never inlined: after the longjmp, variables of
/// this frame that changed are lost, and they must not be the caller's.
template <class Body>
[[nodiscard, gnu::noinline]] ErrorData* attempt(Body&& body) {
    static_assert(std::is_trivially_destructible_v<std::remove_reference_t<Body>>,
                  "the closure must own nothing: capture by reference");
    const MemoryContext caller_memory = CurrentMemoryContext;
    const ResourceOwner caller_owner = CurrentResourceOwner;
    ErrorData* volatile failure = nullptr;

    BeginInternalSubTransaction(nullptr);
    MemoryContextSwitchTo(caller_memory);
    PG_TRY();
    {
        body();
        ReleaseCurrentSubTransaction();
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(caller_memory);
        failure = CopyErrorData();
        FlushErrorState();
        RollbackAndReleaseCurrentSubTransaction();
    }
    PG_END_TRY();
    MemoryContextSwitchTo(caller_memory);
    CurrentResourceOwner = caller_owner;
    return failure;
}

/// Runs PostgreSQL code while `*variable` has another value; it has the old one again afterwards,
/// also after an error. `body` is C: it owns nothing and throws nothing.
template <class Value, class Body>
void while_set(Value* variable, std::type_identity_t<Value> value, Body&& body) {
    static_assert(std::is_trivially_destructible_v<std::remove_reference_t<Body>>,
                  "the closure must own nothing: capture by reference");
    static_assert(std::is_trivially_copyable_v<Value>, "an error jumps over the value");
    const Value before = *variable;
    *variable = value;
    PG_TRY();
    { body(); }
    PG_FINALLY();
    { *variable = before; }
    PG_END_TRY();
}

} // namespace attribution::pg
