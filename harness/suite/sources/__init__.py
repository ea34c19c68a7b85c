"""Where cases come from: one source a file, options → iterator of `Case`."""
