"""Suite: which tools to call, with which arguments, and when to call none."""
