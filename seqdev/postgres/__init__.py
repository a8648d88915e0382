"""The database: connections, transactions, query files, schema, roles, the embedded server."""
