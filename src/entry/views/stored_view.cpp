#include "entry/views/stored_view.hpp"

#include "pg/columns.hpp"
#include "pg/own.hpp"

namespace attribution::entry {

Relation open_stored(const char* name, std::span<const pg::Column> columns, pg::Cached& layout,
                     LOCKMODE lock) {
    Relation relation = table_open(pg::internal_relation(name), lock);
    layout.ensure([&] {
        layout.depend_on(RelationGetRelid(relation));
        pg::check_columns(relation, columns);
    });
    return relation;
}

} // namespace attribution::entry
