"""What runs inside a sandbox: one process holds the answer, another runs the tests.

These files are copied into the sandbox and import nothing but the standard library. The tests never
share a process with the answer, so that nothing the answer does (exit, redefine a test, patch
`builtins`, read frames) can turn into a pass.
"""
