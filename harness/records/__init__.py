"""Records: everything that reaches the disk. Imports no other room."""
