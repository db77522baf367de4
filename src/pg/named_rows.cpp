#include "pg/named_rows.hpp"

namespace attribution::pg {

void name_rows(const char* name, TupleDesc columns, Tuplestorestate* rows) {
    auto* relation =
        static_cast<EphemeralNamedRelation>(palloc0(sizeof(EphemeralNamedRelationData)));
    relation->md.name = pstrdup(name);
    relation->md.reliddesc = InvalidOid;
    relation->md.tupdesc = columns;
    relation->md.enrtype = ENR_NAMED_TUPLESTORE;
    relation->md.enrtuples = static_cast<double>(tuplestore_tuple_count(rows));
    relation->reldata = rows;
    if (const int result = SPI_register_relation(relation); result != SPI_OK_REL_REGISTER)
        elog(ERROR, "SPI_register_relation: %s", SPI_result_code_string(result));
}

} // namespace attribution::pg
