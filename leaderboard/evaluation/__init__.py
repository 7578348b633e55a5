"""Playing hidden episodes with submitted policies."""
