// The door to PostgreSQL: the only file that includes the server's headers.
//
// postgres.h redefines printf and friends and takes names such as ERROR, INFO and Min; whatever the
// C++ side needs must have been parsed before. So the headers of the core come first, here, and
// standard headers come before this one.
#pragma once

#include "core/apportion.hpp"
#include "core/arena.hpp"
#include "core/error.hpp"
#include "core/journey.hpp"
#include "core/explain.hpp"
#include "core/definition.hpp"
#include "core/identity.hpp"
#include "core/json.hpp"
#include "core/model.hpp"
#include "core/redact.hpp"
#include "core/refresh_cost.hpp"
#include "core/refund.hpp"
#include "core/settlement.hpp"
#include "core/webhook/delivery.hpp"

// Up to 15 PGDLLEXPORT is empty, and -fvisibility=hidden would hide even Pg_magic_func.
#define PGDLLEXPORT __attribute__((visibility("default")))

extern "C" {
#include "postgres.h"

#include "access/genam.h"              // relation scans of the binding table
#include "access/heapam.h"             // rings of buffers
#include "access/htup_details.h"       // tuples in triggers
#include "access/relation.h"           // opening a view before it is refreshed
#include "access/table.h"              // table_open
#include "access/tableam.h"            // scans and slots
#include "access/xact.h"               // isolation level, callbacks at the end of transactions
#include "access/xlog.h"               // RecoveryInProgress
#include "catalog/dependency.h"        // members of extensions
#include "catalog/namespace.h"         // names of relations
#include "catalog/objectaddress.h"     // what a comment is on
#include "catalog/pg_am.h"             // kinds of indexes
#include "catalog/pg_cast.h"           // casts that somebody added
#include "catalog/pg_class.h"          // relation kinds and owners
#include "catalog/pg_constraint.h"     // foreign keys lead from allocations to events
#include "catalog/pg_extension.h"      // the version of the extension
#include "catalog/pg_language.h"       // functions in C
#include "catalog/pg_namespace.h"      // schemas in dependencies
#include "catalog/pg_proc.h"           // trigger functions
#include "catalog/pg_trigger.h"        // what fires on what
#include "catalog/pg_type.h"           // type OIDs of query parameters
#include "commands/comment.h"          // comments of tables
#include "commands/dbcommands.h"       // the name of the database
#include "commands/defrem.h"           // access methods by name
#include "commands/event_trigger.h"    // REFRESH made by hand
#include "commands/extension.h"        // this extension
#include "commands/policy.h"           // policies by name
#include "commands/tablecmds.h"        // views that are in use
#include "commands/trigger.h"          // trigger data
#include "commands/user.h"             // roles of a statement
#include "common/hashfn.h"             // advisory locks on tenants
#include "common/int.h"                // sums that may overflow
#include "executor/executor.h"         // indexes of materialized views
#include "executor/spi.h"              // queries
#include "fmgr.h"                      // the calling convention
#include "funcapi.h"                   // sets of rows
#include "mb/pg_wchar.h"               // characters in the server's encoding
#include "miscadmin.h"                 // user ids and interrupts
#include "nodes/makefuncs.h"           // statements made of parts of others
#include "nodes/nodeFuncs.h"           // walking over expressions
#include "nodes/params.h"              // parameters of streamed queries
#include "nodes/plannodes.h"           // which index a plan reads
#include "optimizer/optimizer.h"       // columns in expressions
#include "optimizer/plancat.h"         // sizes of relations
#include "parser/parse_coerce.h"       // types with the same bytes
#include "parser/parse_func.h"         // functions of triggers
#include "parser/parser.h"             // the definitions of tables
#include "replication/logicalworker.h" // rows that come from a publisher
#include "rewrite/rowsecurity.h"       // policies
#include "storage/bufmgr.h"            // sizes of relations in blocks
#include "storage/lmgr.h"              // locks on relations
#include "storage/lock.h"              // the advisory lock of a refresher
#include "storage/proc.h"              // how long locks are waited for
#include "tcop/tcopprot.h"             // parsing and planning without running
#include "tcop/utility.h"              // statements made of parts of others
#include "utils/acl.h"                 // privileges
#include "utils/array.h"               // arrays of weights
#include "utils/backend_status.h"      // which processes are alive
#include "utils/builtins.h"            // text, numeric input and output
#include "utils/datum.h"               // comparing and copying values
#include "utils/fmgroids.h"            // comparisons in index scans
#include "utils/guc.h"                 // settings
#include "utils/hsearch.h"             // hash tables
#include "utils/inval.h"               // cache invalidation
#include "utils/jsonb.h"               // parameters of models
#include "utils/lsyscache.h"           // names from OIDs
#include "utils/memutils.h"            // memory contexts
#include "utils/numeric.h"             // numeric weights
#include "utils/queryenvironment.h"    // rows under a name in a query
#include "utils/rel.h"                 // relations
#include "utils/snapmgr.h"             // snapshots
#include "utils/syscache.h"            // catalog rows
#include "utils/timestamp.h"           // now()
#include "utils/tuplestore.h"          // result sets
#include "utils/uuid.h"                // uuid
#include "windowapi.h"                 // rows of a window partition
}
