"""The ground floor: errors, arguments, files, folders that change as a whole, pictures."""
