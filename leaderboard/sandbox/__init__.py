"""The process that untrusted policies run in."""
