"""Suite: an order desk with three tools; look up before you act, and do nothing that is not due."""
