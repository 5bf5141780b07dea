"""What everything stands on: errors, settings, files, hashes, seeds, boxes and ids."""
