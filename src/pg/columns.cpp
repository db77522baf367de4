#include "pg/columns.hpp"

namespace attribution::pg {

int column_number(Relation relation, const char* column) {
    const TupleDesc columns = RelationGetDescr(relation);
    for (int i = 0; i < columns->natts; ++i) {
        const FormData_pg_attribute* found = TupleDescAttr(columns, i);
        if (!found->attisdropped && strcmp(NameStr(found->attname), column) == 0)
            return found->attnum;
    }
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                    errmsg("column \"%s\" of relation \"%s\" does not exist", column,
                           RelationGetRelationName(relation))));
    pg_unreachable();
}

int column_number(Relation relation, const char* column, Oid type) {
    const int number = column_number(relation, column);
    const Oid actual = TupleDescAttr(RelationGetDescr(relation), number - 1)->atttypid;
    if (!is_of_type(actual, type))
        ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                        errmsg("column \"%s\" of relation \"%s\" is of type %s instead of %s",
                               column, RelationGetRelationName(relation), format_type_be(actual),
                               format_type_be(type)),
                        errhint("Give the column of the extension's table its type back.")));
    return number;
}

void detail::raise_null_column(TupleDesc columns, int number) {
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                    errmsg("column \"%s\" must not be null",
                           NameStr(TupleDescAttr(columns, number - 1)->attname))));
    pg_unreachable();
}

void check_columns(Relation relation, std::span<const Column> columns) {
    bool same = static_cast<std::size_t>(RelationGetNumberOfAttributes(relation)) == columns.size();
    for (std::size_t i = 0; same && i < columns.size(); ++i) {
        const FormData_pg_attribute* column =
            TupleDescAttr(RelationGetDescr(relation), static_cast<int>(i));
        same = !column->attisdropped && column->atttypid == columns[i].type &&
               strcmp(NameStr(column->attname), columns[i].name) == 0;
    }
    if (!same)
        ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                        errmsg("relation \"%s\" has other columns than it was installed with",
                               RelationGetRelationName(relation)),
                        errhint("Restore it from the extension's installation script.")));
}

} // namespace attribution::pg
