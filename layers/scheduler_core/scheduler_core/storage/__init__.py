"""PostgreSQL, the truth: connections, named queries, repositories."""
