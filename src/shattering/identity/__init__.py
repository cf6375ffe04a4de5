"""What identifies a thing: files by their content, and everything that a user can pass by its values and the code that would run."""
