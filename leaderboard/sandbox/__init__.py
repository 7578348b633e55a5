"""The process that a stranger's policy runs in."""
