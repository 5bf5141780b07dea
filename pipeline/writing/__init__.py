"""Writing of stores."""
