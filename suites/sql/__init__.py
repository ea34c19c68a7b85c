"""Suite: questions to two small databases, answered by a query that is run."""
