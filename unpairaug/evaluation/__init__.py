"""A head on pairs: metrics, tables, comparison sheets."""
