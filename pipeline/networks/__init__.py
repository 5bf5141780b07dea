"""Networks; they know no store and no file but their own weights."""
