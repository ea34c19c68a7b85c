"""Suite: questions about drawn receipts, bar charts and forms, answered by a number."""
