"""The service and the pages."""
