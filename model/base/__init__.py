"""What everything stands on: errors, files, folders that change as a whole, pictures."""
